// From answers of Prometheus' HTTP API to Grafana's data frames.
import { FieldConfigOptionsRegistry, FieldType, MutableDataFrame, applyFieldOverrides, createTheme } from '@grafana/data';

export const theme = createTheme({ colors: { mode: 'dark' } });
const palette = theme.visualization.palette;
export const seriesColor = (index) => theme.visualization.getColorByName(palette[index % palette.length]);

// Which options of a field count: the server has these as a registry of editors, which @grafana/ui does not export.
const OPTIONS = ['unit', 'min', 'max', 'decimals', 'noValue', 'mappings', 'thresholds', 'color', 'displayName'];
const CUSTOM = [
  'drawStyle', 'lineWidth', 'fillOpacity', 'stacking', 'scaleDistribution', 'thresholdsStyle', 'showPoints', 'spanNulls',
  'axisSoftMin', 'axisSoftMax', 'minWidth', 'width',
];
const option = (path, isCustom) => ({
  id: isCustom ? `custom.${path}` : path, path, isCustom, name: path, description: path, defaultValue: undefined,
  process: (value) => value, override: null, editor: null, shouldApply: () => true, settings: {},
});
const registry = new FieldConfigOptionsRegistry(() => [
  ...OPTIONS.map((path) => option(path, false)), ...CUSTOM.map((path) => option(path, true)),
]);

const named = (legend, labels) =>
  legend ? legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, key) => labels[key] ?? '') : 'Value';

// One frame a series. `step`: milliseconds between two points; a longer way is a gap.
export function framesOf(panel, answers, step) {
  const frames = panel.targets.flatMap((target, index) => answers[index].map((series) => {
    const points = series.values ?? [series.value];
    const displayName = named(target.legendFormat, series.metric);
    return new MutableDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: points.map(([at]) => at * 1000), config: { interval: step } },
        {
          name: displayName, type: FieldType.number, values: points.map(([, value]) => Number(value)),
          labels: series.metric, config: { displayName },
        },
      ],
    });
  }));
  return decorated(panel, frames);
}

// The table that the transformations `merge` and `organize` make.
export function tableOf(panel, answers) {
  const { excludeByName, renameByName, indexByName } = panel.transformations.find((each) => each.id === 'organize').options;
  const values = panel.targets.map((target) => (panel.targets.length > 1 ? `Value #${target.refId}` : 'Value'));
  const rows = new Map();
  const labels = new Set();
  panel.targets.forEach((_, index) => {
    for (const series of answers[index]) {
      const { __name__, ...own } = series.metric;
      const key = ['namespace', 'kind', 'training'].map((name) => own[name]).join('|');
      rows.set(key, { ...rows.get(key), ...own, [values[index]]: Number(series.value[1]) });
      Object.keys(own).forEach((name) => labels.add(name));
    }
  });
  const place = (name) => indexByName[name] ?? 100;
  const columns = [...labels, ...values].filter((name) => !excludeByName[name]).sort((a, b) => place(a) - place(b));
  const frame = new MutableDataFrame({
    fields: columns.map((name) => ({
      name: renameByName[name] ?? name,
      type: values.includes(name) ? FieldType.number : FieldType.string,
      values: [...rows.values()].map((row) => row[name]),
      config: {},
    })),
  });
  return decorated(panel, [frame])[0];
}

function decorated(panel, frames) {
  return applyFieldOverrides({
    data: frames, fieldConfig: panel.fieldConfig, fieldConfigRegistry: registry, replaceVariables: (text) => text, theme, timeZone: 'utc',
  });
}
