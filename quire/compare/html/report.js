// SPDX-License-Identifier: Apache-2.0
//
// Draws the charts of a report, sorts its table, saves its data. What is drawn was decided by
// quire/compare/internal/charts.h; the kinds of charts are described there. Nothing is fetched.
'use strict';
(() => {
  // Beyond these the small bars of a linear axis cannot be seen, nor lines be told apart.
  const RATIO_FOR_LOGARITHM = {bars: 30, timeline: 8};
  const POINT_STYLES = ['circle', 'rect', 'triangle', 'rectRot'];

  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const specs = new Map(read('chart-data').map((spec) => [spec.id, spec]));
  const drawn = new Map();  // Figure to Chart.
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const hasOwnColor = (name) => style(`--c-${name}`) !== '';
  const colorOf = (name, index) => style(hasOwnColor(name) ? `--c-${name}` : `--s-${index % 6}`);

  // --- Numbers for people ------------------------------------------------------------------------

  function threeFigures(value) {
    if (!(value > 0)) {
      return '0';
    }
    const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(value) + 1e-9)));
    return value.toLocaleString('en', {maximumFractionDigits: digits});
  }

  function scaled(value, base, units) {
    let index = 0;
    while (value >= base * 0.9995 && index + 1 < units.length) {
      value /= base;
      ++index;
    }
    return threeFigures(value) + units[index];
  }

  const duration = (ns) => scaled(ns, 1000, [' ns', ' \u00b5s', ' ms', ' s']);
  const bytes = (count) => scaled(count, 1024, [' B', ' KiB', ' MiB', ' GiB']);
  const short = (value) => value < 1e4 ? threeFigures(value) : scaled(value, 1000, ['', 'k', 'M', 'G']);

  // --- Marks on the bars -------------------------------------------------------------------------

  // The slowest and the fastest round, and the number itself.
  const barMarks = {
    id: 'barMarks',
    afterDatasetsDraw(chart) {
      if (chart.config.type !== 'bar') {
        return;
      }
      const {ctx, scales} = chart;
      ctx.save();
      ctx.font = `11px ${Chart.defaults.font.family}`;
      ctx.textBaseline = 'middle';
      chart.data.datasets.forEach((dataset, index) => {
        if (!chart.isDatasetVisible(index)) {
          return;
        }
        chart.getDatasetMeta(index).data.forEach((bar, at) => {
          const point = dataset.points.get(at);
          if (point) {
            markBar(ctx, scales.x, bar, point);
          }
        });
      });
      ctx.restore();
    },
  };

  function markBar(ctx, axis, bar, [, value, low, high]) {
    const from = axis.getPixelForValue(Math.max(low, axis.min));
    const to = axis.getPixelForValue(high);
    const half = Math.min(4, bar.height / 3);
    ctx.strokeStyle = style('--ink');
    ctx.lineWidth = 1;
    if (to - from > 1) {
      ctx.beginPath();
      ctx.moveTo(from, bar.y);
      ctx.lineTo(to, bar.y);
      ctx.moveTo(from, bar.y - half);
      ctx.lineTo(from, bar.y + half);
      ctx.moveTo(to, bar.y - half);
      ctx.lineTo(to, bar.y + half);
      ctx.stroke();
    }
    ctx.fillStyle = style('--quiet');
    ctx.fillText(short(value), Math.max(bar.x, to) + 5, bar.y);
  }

  // Diagonal lines in the colour: what exceeds memory.
  function hatched(color) {
    const tile = document.createElement('canvas');
    tile.width = tile.height = 6;
    const ctx = tile.getContext('2d');
    ctx.fillStyle = color;
    ctx.globalAlpha = 0.25;
    ctx.fillRect(0, 0, 6, 6);
    ctx.globalAlpha = 1;
    ctx.strokeStyle = color;
    ctx.lineWidth = 2;
    for (const shift of [-6, 0, 6]) {
      ctx.beginPath();
      ctx.moveTo(shift - 1, 7);
      ctx.lineTo(shift + 7, -1);
      ctx.stroke();
    }
    return ctx.createPattern(tile, 'repeat');
  }

  // --- Axes --------------------------------------------------------------------------------------

  function valuesOf(view) {
    return view.series.flatMap((series) => series.points.map((point) => point[1]));
  }

  function isWide(spec) {
    const values = spec.views.flatMap(valuesOf);
    return Math.max(...values) / Math.min(...values) > RATIO_FOR_LOGARITHM[spec.kind];
  }

  function valueAxis(title, isLogarithmic, write) {
    const axis = {
      type: isLogarithmic ? 'logarithmic' : 'linear',
      title: {display: true, text: title + (isLogarithmic ? ' (logarithmic)' : '')},
      beginAtZero: true,
      grid: {color: style('--grid'), borderColor: style('--axis')},
      ticks: {callback: write, maxRotation: 0, autoSkipPadding: 16},
    };
    if (isLogarithmic) {
      axis.ticks.callback = (value) => /^[125]/.test(value.toExponential()) ? write(value) : '';
    }
    return axis;
  }

  // A logarithmic axis has no zero: bars begin a little below the smallest of them.
  function floorOf(spec) {
    const smallest = Math.min(...spec.views.flatMap(valuesOf));
    return Math.pow(10, Math.floor(Math.log10(smallest / 1.5)));
  }

  // --- Kinds of charts ---------------------------------------------------------------------------

  function barChart(spec, view, isLogarithmic) {
    const datasets = view.series.map((series, index) => {
      const points = new Map(series.points.map((point) => [point[0], point]));
      const color = colorOf(series.color, index);
      return {
        label: series.name,
        data: spec.labels.map((_, at) => points.has(at) ? points.get(at)[1] : null),
        points,
        backgroundColor: series.is_heavy ? hatched(color) : color,
        borderColor: color,
        borderWidth: 1,
        categoryPercentage: 0.82,
        barPercentage: 0.92,
      };
    });
    const axis = valueAxis(spec.unit, isLogarithmic, short);
    axis.suggestedMax = Math.max(...view.series.flatMap((one) => one.points.map((bar) => bar[3])));
    if (isLogarithmic) {
      axis.min = floorOf(spec);
    }
    return {
      type: 'bar',
      data: {labels: spec.labels, datasets},
      options: {
        indexAxis: 'y',
        layout: {padding: {right: 52}},
        scales: {
          x: axis,
          y: {grid: {display: false}, ticks: {autoSkip: false, color: style('--ink')}},
        },
        plugins: {
          legend: {display: datasets.length > 1},
          tooltip: {callbacks: {label: (item) => {
            const [, value, low, high] = item.dataset.points.get(item.dataIndex);
            const range = high > low ? ` (${short(low)} to ${short(high)})` : '';
            return `${item.dataset.label}: ${short(value)}${range} ${spec.unit}`;
          }}},
        },
      },
    };
  }

  function lineDatasets(view) {
    return view.series.map((series, index) => {
      const color = colorOf(series.color, index);
      return {
        label: series.name,
        data: series.points.map(([x, y]) => ({x, y})),
        borderColor: color,
        backgroundColor: color,
        borderWidth: 2,
        pointRadius: 3.5,
        pointStyle: POINT_STYLES[index % POINT_STYLES.length],
        clip: 8,  // Points at the ends of an axis are whole.
      };
    });
  }

  function lineChart(view, scales, label) {
    return {
      type: 'line',
      data: {datasets: lineDatasets(view)},
      options: {
        interaction: {mode: 'nearest', intersect: false},
        scales,
        plugins: {
          legend: {labels: {usePointStyle: true, boxWidth: 8, boxHeight: 8}},
          tooltip: {callbacks: {title: () => '', label}},
        },
      },
    };
  }

  function percentileChart(spec, view) {
    const scales = {
      x: {
        type: 'linear', min: 0, max: spec.labels.length - 1,
        title: {display: true, text: 'share of the operations that took no longer'},
        grid: {color: style('--grid'), borderColor: style('--axis')},
        ticks: {stepSize: 1, callback: (value) => spec.labels[value]},
      },
      y: valueAxis(spec.unit, true, duration),
    };
    return lineChart(view, scales, (item) =>
        `${item.dataset.label}: ${spec.labels[item.parsed.x]} ${duration(item.parsed.y)}`);
  }

  function timelineChart(spec, view, isLogarithmic) {
    const scales = {
      x: {...valueAxis('seconds since the run began', false, short), grace: '2%'},
      y: valueAxis(spec.unit, isLogarithmic, short),
    };
    return lineChart(view, scales, (item) =>
        `${item.dataset.label}: ${short(item.parsed.y)} ${spec.unit} at ${short(item.parsed.x)} s`);
  }

  function sizeChart(spec, view) {
    const sizes = view.series.flatMap((series) => series.points.map((point) => point[0]));
    const x = valueAxis('bytes at a time', true, bytes);
    x.min = Math.min(...sizes);
    x.max = Math.max(...sizes);
    x.afterBuildTicks = (axis) => {
      axis.ticks = [...new Set(sizes)].sort((a, b) => a - b).map((value) => ({value}));
    };
    x.ticks.callback = bytes;
    return lineChart(view, {x, y: valueAxis(spec.unit, true, short)}, (item) =>
        `${item.dataset.label}: ${short(item.parsed.y)} ${spec.unit}, ` +
        `${bytes(item.parsed.x)} at a time`);
  }

  const KINDS = {
    bars: barChart, percentiles: percentileChart, timeline: timelineChart, sizes: sizeChart,
  };

  // --- Drawing -----------------------------------------------------------------------------------

  // In CSS pixels: as high as what is in it needs.
  function heightOf(spec, view) {
    const legendRows = view.series.length > 1 ? view.series.length : 0;
    return spec.kind === 'bars'
        ? 70 + spec.labels.length * (10 + 14 * view.series.length) + 22 * legendRows
        : 330 + 11 * legendRows;
  }

  function draw(figure) {
    const spec = specs.get(figure.dataset.chart);
    const chooser = figure.querySelector('select');
    const view = spec.views[chooser ? Number(chooser.value) : 0];
    const isLogarithmic = figure.dataset.scale === 'logarithmic';
    const canvas = figure.querySelector('canvas');
    drawn.get(figure)?.destroy();
    figure.querySelector('.plot').style.height = `${heightOf(spec, view)}px`;
    drawn.set(figure, new Chart(canvas, KINDS[spec.kind](spec, view, isLogarithmic)));
  }

  function setDefaults() {
    Object.assign(Chart.defaults, {
      animation: false, responsive: true, maintainAspectRatio: false, color: style('--quiet'),
    });
    Chart.defaults.font.family = style('--font');
    Object.assign(Chart.defaults.plugins.legend, {position: 'bottom', align: 'start'});
    Object.assign(Chart.defaults.plugins.legend.labels,
                  {boxWidth: 11, boxHeight: 11, color: style('--ink')});
  }

  function drawAll() {
    setDefaults();
    document.querySelectorAll('figure.chart').forEach(draw);
  }

  // A switch between the two scales, where the kind of chart leaves the choice.
  function addScaleSwitch(figure) {
    const spec = specs.get(figure.dataset.chart);
    figure.dataset.scale = isWide(spec) ? 'logarithmic' : 'linear';
    if (spec.kind !== 'bars' && spec.kind !== 'timeline') {
      return;
    }
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = 'Logarithmic';
    const show = () => button.setAttribute('aria-pressed', figure.dataset.scale === 'logarithmic');
    button.addEventListener('click', () => {
      figure.dataset.scale = figure.dataset.scale === 'linear' ? 'logarithmic' : 'linear';
      show();
      draw(figure);
    });
    show();
    figure.querySelector('.controls').append(button);
  }

  // Choosing conditions in one chart of a pattern chooses them in the others.
  function follow(figure) {
    const chooser = figure.querySelector('select');
    chooser?.addEventListener('change', () => {
      const wanted = chooser.selectedOptions[0].textContent;
      figure.closest('section').querySelectorAll('figure.chart').forEach((other) => {
        const options = [...(other.querySelector('select')?.options ?? [])];
        const same = options.find((option) => option.textContent === wanted);
        if (same) {
          same.selected = true;
          draw(other);
        }
      });
    });
  }

  // --- The table of all cells --------------------------------------------------------------------

  // Numbers by value, words by letters; what is not known stays last in both directions.
  function compareFields(left, right, sign) {
    const [a, b] = [left.dataset.v, right.dataset.v];
    if (a !== undefined && b !== undefined) {
      return sign * (Number(a) - Number(b));
    }
    if (a !== undefined || b !== undefined) {
      return a === undefined ? 1 : -1;
    }
    return sign * left.textContent.localeCompare(right.textContent);
  }

  function makeSortable(table) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      heading.querySelector('button').addEventListener('click', () => {
        const sign = heading.getAttribute('aria-sort') === 'ascending' ? -1 : 1;
        headings.forEach((other) => other.removeAttribute('aria-sort'));
        heading.setAttribute('aria-sort', sign > 0 ? 'ascending' : 'descending');
        const body = table.tBodies[0];
        const rows = [...body.rows];
        rows.sort((a, b) => compareFields(a.cells[column], b.cells[column], sign));
        body.append(...rows);
      });
    });
  }

  function saveJson() {
    const link = document.createElement('a');
    const text = document.getElementById('report-data').textContent;
    link.href = URL.createObjectURL(new Blob([text], {type: 'application/json'}));
    link.download = 'quire-compare.json';
    link.click();
    URL.revokeObjectURL(link.href);
  }

  // --- Start -------------------------------------------------------------------------------------

  Chart.register(barMarks);
  document.querySelectorAll('.swatch').forEach((swatch) => {
    swatch.style.background = `var(--c-${swatch.dataset.color})`;
  });
  document.querySelectorAll('figure.chart').forEach((figure) => {
    addScaleSwitch(figure);
    follow(figure);
  });
  document.querySelectorAll('table.sortable').forEach(makeSortable);
  document.getElementById('save-json').addEventListener('click', saveJson);
  drawAll();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
})();
