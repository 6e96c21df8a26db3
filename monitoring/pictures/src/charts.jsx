// XY chart, heatmap and state timeline are part of Grafana's server and in no package. These draw them in short on what
// is: Grafana's plots, axes, scales, legends, units and colors.
import React, { useMemo } from 'react';
import { formattedValueToString, getValueFormat } from '@grafana/data';
import { UPlotChart, UPlotConfigBuilder, VizLayout, VizLegend } from '@grafana/ui';
import { interpolateBlues } from 'd3-scale-chromatic';
import { seriesColor, theme } from './frames.js';

const ACROSS = { orientation: 0, direction: 1 }, UP = { orientation: 1, direction: 1 };
const BELOW = 'bottom', LEFT = 'left';

function Plot({ build, data, items, width, height }) {
  const config = useMemo(build, []);
  const legend = items && (
    <VizLayout.Legend placement="bottom"><VizLegend placement="bottom" displayMode="list" items={items} /></VizLayout.Legend>
  );
  return <VizLayout width={width} height={height} legend={legend}>
    {(w, h) => <UPlotChart config={config} data={data} width={w} height={h} />}
  </VizLayout>;
}

// A plot over time whose rows are drawn by `draw(plot, row)` between two lines of its left axis.
function overTime({ begin, end, rows, label, at, draw, size }) {
  const builder = new UPlotConfigBuilder('utc');
  builder.addScale({ scaleKey: 'x', isTime: true, range: () => [begin * 1000, end * 1000], ...ACROSS });
  builder.addAxis({ scaleKey: 'x', isTime: true, placement: BELOW, timeZone: 'utc', theme });
  builder.addScale({ scaleKey: 'y', range: () => [0, rows], ...UP });
  builder.addAxis({
    scaleKey: 'y', placement: LEFT, theme, size, grid: { show: false }, ticks: { show: false },
    splits: () => Array.from({ length: rows }, (_, row) => row + at), values: (_, splits) => splits.map((split) => label(Math.floor(split))),
  });
  builder.addSeries({ scaleKey: 'y', pathBuilder: () => null, pointsBuilder: () => undefined, theme, lineColor: 'transparent' });
  builder.addHook('draw', (plot) => {
    plot.ctx.save();
    plot.ctx.beginPath();
    plot.ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
    plot.ctx.clip();
    draw(plot);
    plot.ctx.restore();
  });
  return builder;
}

function fill(plot, from, to, row, share, color) {
  const left = plot.valToPos(from, 'x', true), right = plot.valToPos(to, 'x', true);
  const top = plot.valToPos(row + share, 'y', true), bottom = plot.valToPos(row + 1 - share, 'y', true);
  plot.ctx.fillStyle = color;
  plot.ctx.fillRect(left, Math.min(top, bottom), Math.max(1, right - left + 0.5), Math.abs(bottom - top));
}

const apart = (values) => Math.min(...values.slice(1).map((value, i) => value - values[i]));
const run = ({ namespace, kind, training }) => `${namespace} ${kind} ${training}`;

export function Steps({ panel, answers, width, height }) {
  const [steps, values] = answers;
  const lines = values.map(({ metric, values: points }) => {
    const step = new Map(steps.find((each) => run(each.metric) === run(metric)).values);
    return { name: metric.training, at: new Map(points.filter(([time]) => step.has(time)).map(([time, value]) => [Number(step.get(time)), Number(value)])) };
  });
  const xs = [...new Set(lines.flatMap((line) => [...line.at.keys()]))].sort((a, b) => a - b);
  const data = [xs, ...lines.map((line) => xs.map((x) => line.at.get(x) ?? null))];
  const format = getValueFormat(panel.fieldConfig.defaults.unit);
  const build = () => {
    const builder = new UPlotConfigBuilder('utc');
    builder.addScale({ scaleKey: 'x', isTime: false, range: (_, low, high) => [low - 0.5, high + 0.5], ...ACROSS });
    builder.addAxis({ scaleKey: 'x', placement: BELOW, label: 'Step', theme, formatValue: String });
    builder.addScale({ scaleKey: 'y', ...UP });
    builder.addAxis({ scaleKey: 'y', placement: LEFT, theme, formatValue: (v, decimals) => formattedValueToString(format(v, decimals)) });
    lines.forEach((_, i) => builder.addSeries({
      scaleKey: 'y', theme, drawStyle: 'line', lineWidth: 2, lineColor: seriesColor(i), showPoints: 'always', pointSize: 5, spanNulls: true,
    }));
    return builder;
  };
  const items = lines.map((line, i) => ({ label: line.name, color: seriesColor(i), yAxis: 1 }));
  return <Plot build={build} data={data} items={items} width={width} height={height} />;
}

export function Buckets({ frames, width, height, begin, end }) {
  const bound = (frame) => Number(frame.fields[1].labels.le.replace('+Inf', 'Infinity'));
  const rows = frames.toSorted((a, b) => bound(a) - bound(b));
  const upTo = rows.map((frame) => new Map(frame.fields[0].values.map((time, i) => [time, frame.fields[1].values[i]])));
  const times = rows[0]?.fields[0].values ?? [];
  const counts = upTo.map((row, i) => times.map((time) => (row.get(time) ?? 0) - (upTo[i - 1]?.get(time) ?? 0)));
  const most = Math.max(...counts.flat(), 1), wide = apart(times);
  const draw = (plot) => counts.forEach((row, i) => row.forEach((count, j) => {
    if (count > 0.01) fill(plot, times[j] - wide, times[j], i, 0.03, interpolateBlues(1 - 0.9 * Math.sqrt(count / most)));
  }));
  const label = (row) => (rows[row - 1] ? String(bound(rows[row - 1])).replace('Infinity', '∞') : '0');
  const build = () => overTime({ begin, end, rows: rows.length, label, at: 0, draw });
  return <Plot build={build} data={[times, times.map(() => null)]} width={width} height={height} />;
}

export function States({ frames, width, height, begin, end }) {
  const rows = frames.toReversed();
  const wide = Math.min(...rows.map((frame) => frame.fields[0].config.interval));
  const draw = (plot) => rows.forEach((frame, i) => frame.fields[0].values.forEach((time) => fill(plot, time, time + wide, i, 0.1, seriesColor(i))));
  const label = (row) => rows[row]?.fields[1].config.displayName ?? '';
  const build = () => overTime({ begin, end, rows: rows.length, label, at: 0.5, draw });
  const times = [begin * 1000, end * 1000];
  return <Plot build={build} data={[times, [null, null]]} width={width} height={height} />;
}
