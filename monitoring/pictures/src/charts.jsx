// Heatmap, state timeline and XY chart are parts of Grafana's server pages, not of @grafana/ui: simple stand-ins.
import React from 'react';

const COLORS = ['#7EB26D', '#EAB839', '#6ED0E0', '#EF843C', '#E24D42', '#1F78C1', '#BA43A9', '#705DA0', '#508642', '#CCA300'];
const PAD = { left: 52, right: 8, top: 6, bottom: 34 };

function Axes({ width, height, x, y, children }) {
  const w = width - PAD.left - PAD.right, h = height - PAD.top - PAD.bottom;
  const px = (v) => PAD.left + ((v - x.min) / (x.max - x.min || 1)) * w;
  const py = (v) => PAD.top + h - ((v - y.min) / (y.max - y.min || 1)) * h;
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  return <svg width={width} height={height} fill="#ccccdc" fontSize="11">
    {ticks.map((t) => <g key={t}>
      <line x1={PAD.left} x2={width - PAD.right} y1={PAD.top + h * t} y2={PAD.top + h * t} stroke="#2c2f36" />
      <text x={PAD.left - 6} y={PAD.top + h * (1 - t) + 4} textAnchor="end">{y.label(y.min + t * (y.max - y.min))}</text>
      <text x={PAD.left + w * t} y={height - 18} textAnchor="middle">{x.label(x.min + t * (x.max - x.min))}</text>
    </g>)}
    {children(px, py)}
  </svg>;
}

const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 16);

export function Steps({ answers, width, height }) {
  const [steps, values] = answers;
  const lines = values.map((series) => {
    const step = steps.find((each) => each.metric.training === series.metric.training && each.metric.kind === series.metric.kind);
    const at = new Map(step.values.map(([time, value]) => [time, Number(value)]));
    return { name: series.metric.training, points: series.values.filter(([time]) => at.has(time)).map(([time, v]) => [at.get(time), Number(v)]) };
  });
  const xs = lines.flatMap((line) => line.points.map(([x]) => x)), ys = lines.flatMap((line) => line.points.map(([, y]) => y));
  const bounds = (all) => ({ min: Math.min(...all), max: Math.max(...all), label: (v) => Number(v.toPrecision(3)).toString() });
  return <Axes width={width} height={height} x={bounds(xs)} y={bounds(ys)}>{(px, py) => lines.map((line, i) => <g key={i}>
    <polyline fill="none" stroke={COLORS[i]} strokeWidth="2" points={line.points.map(([x, y]) => `${px(x)},${py(y)}`).join(' ')} />
    <text x={PAD.left + i * 160} y={height - 3} fill={COLORS[i]}>{line.name}</text></g>)}</Axes>;
}

export function Buckets({ answers, width, height, begin, end }) {
  const series = answers[0].filter((each) => each.metric.le !== '+Inf').sort((a, b) => Number(a.metric.le) - Number(b.metric.le));
  const counts = new Map();
  series.forEach((each, row) => each.values.forEach(([time, value]) => counts.set(`${row} ${time}`, Number(value))));
  const times = [...new Set(series.flatMap((each) => each.values.map(([time]) => time)))].sort((a, b) => a - b);
  const cells = times.flatMap((time) => series.map((_, row) => ({ time, row, n: Math.max(0, (counts.get(`${row} ${time}`) ?? 0) - (counts.get(`${row - 1} ${time}`) ?? 0)) })));
  const most = Math.max(...cells.map((cell) => cell.n), 1);
  const step = times.length > 1 ? times[1] - times[0] : 60;
  const y = { min: 0, max: series.length, label: (v) => series[Math.min(series.length - 1, Math.floor(v))]?.metric.le };
  return <Axes width={width} height={height} x={{ min: begin, max: end, label: clock }} y={y}>{(px, py) => cells.filter((cell) => cell.n > 0).map((cell, i) =>
    <rect key={i} x={px(cell.time)} y={py(cell.row + 1)} width={px(cell.time + step) - px(cell.time)} height={py(cell.row) - py(cell.row + 1)} fill="#5794F2" opacity={0.15 + 0.85 * (cell.n / most)} />)}</Axes>;
}

export function States({ frames, width, height, begin, end }) {
  const label = 150, row = (height - 20) / Math.max(frames.length, 1);
  const px = (time) => label + ((time / 1000 - begin) / (end - begin)) * (width - label);
  return <svg width={width} height={height} fill="#ccccdc" fontSize="11">{frames.map((frame, i) => {
    const times = frame.fields[0].values;
    return <g key={i}><text x="0" y={i * row + row / 2 + 4}>{frame.fields[1].config.displayName}</text>
      {times.map((time, j) => <rect key={j} x={px(time)} y={i * row + 2} width={Math.max(2, px(time + 60000) - px(time))} height={row - 4} fill={COLORS[i % COLORS.length]} />)}</g>;
  })}</svg>;
}
