// Panels that @grafana/ui has whole: numbers and lines.
import React from 'react';
import { VizOrientation, dateTime, getDisplayValueAlignmentFactors, getFieldDisplayValues } from '@grafana/data';
import { BigValue, TimeSeries, VizRepeater } from '@grafana/ui';
import { theme } from './frames.js';

export function Stat({ panel, frames, width, height }) {
  const { graphMode, colorMode, reduceOptions } = panel.options;
  const values = () => getFieldDisplayValues({
    data: frames, theme, timeZone: 'utc', fieldConfig: panel.fieldConfig, replaceVariables: (text) => text,
    reduceOptions: { calcs: reduceOptions.calcs, values: false }, sparkline: graphMode === 'area',
  });
  return <VizRepeater getValues={values} getAlignmentFactors={getDisplayValueAlignmentFactors}
    width={width} height={height} itemSpacing={3} autoGrid orientation={VizOrientation.Auto} source={frames} renderCounter={0}
    renderValue={({ value, alignmentFactors, count, ...place }) => (
      <BigValue value={value.display} sparkline={value.sparkline} alignmentFactors={alignmentFactors} count={count} theme={theme}
        width={place.width} height={place.height} colorMode={colorMode} graphMode={graphMode} textMode="auto" justifyMode="auto" />)} />;
}

export function Lines({ panel, frames, width, height, begin, end }) {
  const range = { from: dateTime(begin * 1000), to: dateTime(end * 1000), raw: { from: 'now-2h', to: 'now' } };
  return <TimeSeries frames={frames} structureRev={1} width={width} height={height} timeRange={range} timeZone="utc"
    legend={panel.options.legend} options={panel.options} />;
}
