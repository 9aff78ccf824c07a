// SPDX-License-Identifier: Apache-2.0
//
// report_test.mjs REPORT.html...: opens each report from the disk with the network off, as wide as a
// desk and as narrow as a telephone, in light and in dark, and checks what a reader relies on.
// A screenshot of each lies beside the report. What only some reports have to show is in EXPECTED.
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {basename} from 'node:path';
import {pathToFileURL} from 'node:url';

const require = createRequire(`${process.env.QUIRE_NODE_MODULES}/`);
const {chromium} = require('playwright-core');

const WIDTHS = [1280, 400];
const SCHEMES = ['light', 'dark'];
const CONTRAST_MIN = 4.5;  // WCAG 2, level AA, for text of ordinary size.
const EXPECTED = {
  'full.html': {charts: 22, verdicts: 18, cells: 212},
  'hostile.html': {charts: 6, verdicts: 1, cells: 3},
  'empty.html': {charts: 0, verdicts: 1, cells: 1},
  'articles.html': {charts: 2, verdicts: 0, cells: 0},
};

// --- What runs in the page -----------------------------------------------------------------------

// Which charts the data calls for, found without the code that decided it.
function chartsCalledFor() {
  const data = JSON.parse(document.getElementById('report-data').textContent);
  const wanted = [];
  for (const pattern of new Set(data.cells.map((cell) => cell.pattern))) {
    const cells = data.cells.filter((cell) => cell.pattern === pattern && cell.rounds.length > 0);
    const add = (kind, has) => cells.some(has) && wanted.push(`${kind}-${pattern}`);
    add('throughput', (cell) => cell.median_mib_per_s > 0);
    add('latency', (cell) => cell.latency !== null);
    add('timeline', (cell) => cell.median_mib_per_s > 0);
    add('cpu', (cell) => cell.cpu_s_per_gib > 0);
  }
  if (data.articles_way.length > 0) wanted.push('articles-way');
  if (data.articles_matrix.length > 0) wanted.push('articles-matrix');
  return wanted.sort();
}

// For each chart: how many colours its pixels have, and what share of them is painted.
function paintedCharts() {
  return [...document.querySelectorAll('figure.chart')].map((figure) => {
    const canvas = figure.querySelector('canvas');
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const colors = new Map();
    for (let at = 0; at < data.length; at += 4) {
      if (data[at + 3] > 200) {
        const color = (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
        colors.set(color, (colors.get(color) ?? 0) + 1);
      }
    }
    const solid = [...colors.values()].filter((count) => count > 20).length;
    const chart = Chart.getChart(canvas);
    return {
      id: figure.dataset.chart, solid, label: canvas.getAttribute('aria-label'),
      width: canvas.clientWidth, height: canvas.clientHeight,
      points: chart.data.datasets.flatMap((set) => set.data).filter((one) => one !== null).length,
      axes: Object.values(chart.scales).map((scale) => scale.options.title.text),
      plot: (chart.chartArea.right - chart.chartArea.left) / canvas.clientWidth,
    };
  });
}

// Texts whose colour is too near to what is behind them.
function faintTexts(least) {
  const parse = (text) => text.match(/[\d.]+/g).map(Number);
  const luminance = (rgb) => rgb.slice(0, 3)
      .map((value) => value / 255)
      .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
      .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const faint = new Set();
  for (const element of document.querySelectorAll('body *')) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE &&
                                                           node.textContent.trim() !== '');
    if (!hasText || !element.checkVisibility() || element.tagName === 'SCRIPT') continue;
    const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < least) {
      faint.add(`<${element.tagName} class="${element.className}"> ${contrast.toFixed(2)}`);
    }
  }
  return [...faint];
}

// Boxes that stick out of the page, and words that stick out of their boxes, where nothing scrolls.
function overflows() {
  const found = [];
  if (document.documentElement.scrollWidth > innerWidth) {
    found.push(`the page is ${document.documentElement.scrollWidth} wide`);
  }
  for (const element of document.querySelectorAll('main *, header *, nav *, footer *')) {
    const scrolls = element.closest('.scroll, pre');
    if (!scrolls && element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1) {
      found.push(`<${element.tagName} class="${element.className}"> ${element.textContent.trim()}`);
    }
  }
  return found;
}

function sortedColumn(title) {
  const table = document.getElementById('all-cells');
  const headings = [...table.tHead.rows[0].cells];
  const column = headings.findIndex((heading) => heading.textContent === title);
  headings[column].querySelector('button').click();
  return [...table.tBodies[0].rows].map((row) => row.cells[column].dataset.v)
      .filter((value) => value !== undefined).map(Number);
}

// --- Checks --------------------------------------------------------------------------------------

async function checkCharts(page, expected) {
  const charts = await page.evaluate(paintedCharts);
  assert.deepEqual(charts.map((chart) => chart.id).sort(), await page.evaluate(chartsCalledFor));
  for (const chart of charts) {
    assert.ok(chart.solid >= 3, `${chart.id}: nothing but ${chart.solid} colours on its canvas`);
    assert.ok(chart.points > 0, `${chart.id}: no point`);
    assert.ok(chart.width > 250 && chart.height > 90, `${chart.id}: ${JSON.stringify(chart)}`);
    assert.ok(chart.plot > 0.35, `${chart.id}: the labels leave ${chart.plot} of the width`);
    assert.ok(chart.label.length > 40, `${chart.id}: no text in place of the picture`);
    assert.ok(chart.axes.some((title) => title), `${chart.id}: no axis has a title`);
  }
  if (expected) {
    assert.equal(charts.length, expected.charts);
    assert.equal(await page.locator('article.verdict').count(), expected.verdicts);
    assert.equal(await page.locator('#all-cells tbody tr').count(), expected.cells);
  }
  return charts.length;
}

// Every pattern with charts has its numbers as a table too.
async function checkTables(page) {
  for (const section of await page.locator('section.pattern').all()) {
    assert.ok(await section.locator('table tbody tr').count() > 0, await section.getAttribute('id'));
  }
}

// Other conditions, and the other scale, draw something else in the chart, and in those beside it.
async function checkControls(page) {
  const picture = (figure) => figure.locator('canvas').evaluate((canvas) => canvas.toDataURL());
  const figure = page.locator('figure.chart:has(select)').first();
  if (await figure.count() > 0) {
    const before = await picture(figure);
    await figure.locator('select').selectOption({index: 1});
    assert.notEqual(await picture(figure), before, 'the choice of conditions changes nothing');
    const section = figure.locator('xpath=ancestor::section');
    const values = await section.locator('select').evaluateAll((all) => all.map((one) => one.value));
    assert.ok(values.every((value) => value === '1'), 'the charts of one pattern disagree');
  }
  const bars = page.locator('figure.chart:has(button)').first();
  if (await bars.count() > 0) {
    const before = await picture(bars);
    await bars.locator('button').click();
    assert.notEqual(await picture(bars), before, 'the switch of the scale changes nothing');
  }
}

async function checkSorting(page) {
  const ascending = await page.evaluate(sortedColumn, 'MiB/s');
  assert.deepEqual(ascending, [...ascending].sort((a, b) => a - b));
  const descending = await page.evaluate(sortedColumn, 'MiB/s');
  assert.deepEqual(descending, [...ascending].reverse());
}

async function checkSaving(page) {
  const [download] = await Promise.all([page.waitForEvent('download'),
                                        page.locator('#save-json').click()]);
  const saved = JSON.parse(readFileSync(await download.path(), 'utf8'));
  const shown = await page.evaluate(() => document.getElementById('report-data').textContent);
  assert.deepEqual(saved, JSON.parse(shown));
  assert.ok(Array.isArray(saved.cells) && Array.isArray(saved.verdicts));
}

// Nothing of what came from outside became an element or ran.
async function checkHarmless(page) {
  assert.equal(await page.evaluate(() => window.hostile), undefined);
  assert.equal(await page.locator('script').count(), 4);
  assert.equal(await page.locator('img, iframe, object, embed, link, base').count(), 0);
  const handlers = await page.evaluate(() => [...document.querySelectorAll('*')].flatMap(
      (element) => element.getAttributeNames().filter((name) => name.startsWith('on'))));
  assert.deepEqual(handlers, []);
}

async function checkWorld(browser, path, {width, scheme}) {
  const url = pathToFileURL(path).href;
  const complaints = [];
  const context = await browser.newContext(
      {viewport: {width, height: 900}, colorScheme: scheme, offline: true, acceptDownloads: true});
  try {
    const page = await context.newPage();
    page.on('console', (message) => complaints.push(`console ${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => complaints.push(`error: ${error.stack}`));
    page.on('dialog', (dialog) => complaints.push(`dialog: ${dialog.message()}`));
    await page.route('**/*', (route) => {
      if (route.request().url() === url) return route.continue();
      complaints.push(`request: ${route.request().url()}`);
      return route.abort();
    });
    await page.goto(url);
    const name = basename(path);
    const count = await checkCharts(page, EXPECTED[name]);
    const picture = path.replace(/\.html$/, `-${width}-${scheme}.png`);
    await page.screenshot({path: picture, fullPage: true});
    assert.deepEqual(await page.evaluate(overflows), []);
    assert.deepEqual(await page.evaluate(faintTexts, CONTRAST_MIN), []);
    await checkTables(page);
    await checkControls(page);
    await checkSorting(page);
    await checkSaving(page);
    await checkHarmless(page);
    assert.deepEqual(complaints, []);
    console.log(`${name} at ${width}, ${scheme}: ${count} charts; ${picture}`);
  } finally {
    await context.close();
  }
}

const browser = await chromium.launch(
    {executablePath: '/usr/bin/chromium', args: process.getuid() === 0 ? ['--no-sandbox'] : []});
try {
  for (const path of process.argv.slice(2)) {
    for (const width of WIDTHS) {
      for (const scheme of SCHEMES) {
        await checkWorld(browser, path, {width, scheme});
      }
    }
  }
} finally {
  await browser.close();
}
