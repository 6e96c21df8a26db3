// Draws a dashboard of the chart with Grafana's own components over the answers of a real Prometheus.
import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import React from 'react';
import { createRoot } from 'react-dom/client';
import { ThemeContext } from '@grafana/data';
import { GlobalStyles, PanelChrome, Table } from '@grafana/ui';
import { framesOf, tableOf, theme } from './frames.js';
import { Lines, Stat } from './panels.jsx';
import { Buckets, States, Steps } from './charts.jsx';

const { board, answers, begin, end, step, chosen, width: WIDTH } = window.PICTURE;
const CELL = 30, GAP = 8, HEAD = 92; // Grafana's own grid; HEAD: title and variables

const DRAWN = { stat: Stat, timeseries: Lines, heatmap: Buckets, 'state-timeline': States };

function Body({ panel, width, height }) {
  const given = answers[panel.id];
  const place = { panel, width, height, begin, end };
  if (given.every((series) => series.length === 0)) return <div style={{ height, display: 'grid', placeContent: 'center' }}>No data</div>;
  if (panel.type === 'table') return <Table data={tableOf(panel, given)} width={width} height={height} />;
  if (panel.type === 'xychart') return <Steps answers={given} {...place} />;
  const Drawn = DRAWN[panel.type];
  return <Drawn frames={framesOf(panel, given, step * 1000)} {...place} />;
}

// One panel that cannot be drawn is an error of the picture; draw.py looks for this attribute.
class Guard extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { return { error }; }
  render() {
    const { error } = this.state;
    return error ? <pre data-broken={this.props.title}>{String(error.stack)}</pre> : this.props.children;
  }
}

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const cell = WIDTH / 24;
  const width = w * cell - GAP, height = h * (CELL + GAP) - GAP;
  return <div data-panel={panel.title} style={{ position: 'absolute', left: x * cell + GAP / 2, top: y * (CELL + GAP) + HEAD, width, height }}>
    <PanelChrome title={panel.title} width={width} height={height} padding={panel.type === 'stat' ? 'none' : 'sm'}>
      {(innerWidth, innerHeight) => <Guard title={panel.title}><Body panel={panel} width={innerWidth} height={innerHeight} /></Guard>}
    </PanelChrome>
  </div>;
}

const Heading = ({ row }) => (
  <div style={{ ...theme.typography.h5, position: 'absolute', left: GAP, top: row.gridPos.y * (CELL + GAP) + HEAD + 6 }}>⌄ {row.title}</div>
);

const Choice = ({ label, text }) => (
  <span style={{ marginRight: 12, border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2 }}>
    <span style={{ display: 'inline-block', padding: '4px 8px', background: theme.colors.background.secondary, fontWeight: 500 }}>{label}</span>
    <span style={{ display: 'inline-block', padding: '4px 8px' }}>{text} ⌄</span>
  </span>
);

const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 16);

// Plots measure text before they draw it.
await Promise.all(['400', '500'].map((weight) => document.fonts.load(`${weight} 12px Inter`)));
createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <div style={{ position: 'relative', fontSize: 12 }}>
      <div style={{ padding: '12px 8px', display: 'flex', justifyContent: 'space-between', ...theme.typography.h4 }}>
        <span>{board.title}</span>
        <span style={{ ...theme.typography.bodySmall }}>{clock(begin)} to {clock(end)} UTC</span>
      </div>
      <div style={{ padding: '0 8px' }}>
        {Object.entries(chosen).map(([label, text]) => <Choice key={label} label={label} text={text} />)}
      </div>
      {board.panels.map((panel) => panel.type === 'row' ? <Heading key={panel.id} row={panel} /> : <Panel key={panel.id} panel={panel} />)}
    </div>
  </ThemeContext.Provider>
);
