// Draws a dashboard of the chart with Grafana's own components over the answers of a real Prometheus.
import React from 'react';
import { createRoot } from 'react-dom/client';
import { ThemeContext, dateTime, getFieldDisplayValues } from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, Table, TimeSeries } from '@grafana/ui';
import { framesOf, tableOf, theme } from './frames.js';
import { Buckets, Steps, States } from './charts.jsx';

const WIDTH = 1600, CELL = 30, GAP = 8;
const { board, answers, begin, end } = window.PICTURE;
const range = { from: dateTime(begin * 1000), to: dateTime(end * 1000), raw: { from: 'now-2h', to: 'now' } };

function Stat({ panel, frames, width, height }) {
  const shown = getFieldDisplayValues({
    data: frames, theme, timeZone: 'utc', fieldConfig: panel.fieldConfig, replaceVariables: (text) => text,
    reduceOptions: { calcs: ['lastNotNull'], values: false }, sparkline: panel.options.graphMode === 'area',
  });
  const each = width / Math.max(shown.length, 1);
  return <div style={{ display: 'flex' }}>{shown.map((value, index) => (
    <BigValue key={index} value={value.display} sparkline={value.sparkline} width={each} height={height - 14} theme={theme}
      colorMode="value" graphMode={panel.options.graphMode} textMode="auto" justifyMode="auto" />))}</div>;
}

function Body({ panel, width, height }) {
  const given = answers[panel.id];
  if (panel.type === 'table') return <Table data={tableOf(panel, given)} width={width} height={height} />;
  if (panel.type === 'xychart') return <Steps panel={panel} answers={given} width={width} height={height} />;
  const frames = framesOf(panel, given);
  if (panel.type === 'stat') return <Stat panel={panel} frames={frames} width={width} height={height} />;
  if (panel.type === 'heatmap') return <Buckets answers={given} width={width} height={height} begin={begin} end={end} />;
  if (panel.type === 'state-timeline') return <States frames={frames} width={width} height={height} begin={begin} end={end} />;
  return <TimeSeries frames={frames} structureRev={1} width={width} height={height} timeRange={range} timeZone="utc"
    legend={panel.options.legend} options={panel.options} />;
}

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const cell = WIDTH / 24;
  const width = w * cell - GAP, height = h * (CELL + GAP) - GAP;
  return <div style={{ position: 'absolute', left: x * cell + GAP / 2, top: y * (CELL + GAP) + 60, width, height }}>
    <PanelChrome title={panel.title} width={width} height={height} padding="sm">
      {(innerWidth, innerHeight) => <Body panel={panel} width={innerWidth} height={innerHeight} />}
    </PanelChrome>
  </div>;
}

function Heading({ row }) {
  return <div style={{ position: 'absolute', left: 8, top: row.gridPos.y * (CELL + GAP) + 68, fontSize: 16, fontWeight: 500 }}>⌄ {row.title}</div>;
}

class Guard extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { return { error }; }
  render() { return this.state.error ? <pre style={{ color: 'red' }}>{String(this.state.error)}</pre> : this.props.children; }
}

createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <div style={{ position: 'relative' }}>
      <h1 style={{ fontSize: 22, margin: '14px 12px', fontWeight: 500 }}>{board.title}</h1>
      {board.panels.map((panel) => panel.type === 'row'
        ? <Heading key={panel.id} row={panel} />
        : <Guard key={panel.id}><Panel panel={panel} /></Guard>)}
    </div>
  </ThemeContext.Provider>
);
