// Drives the page in headless Chromium over its debugging protocol, without any package.
//
//     node page.mjs CHROMIUM URL DIRECTORY
//
// URL is that of a program whose store has the metric `torches` with a label value that is markup. Screenshots go to
// DIRECTORY. Prints one line per check, and ends with 1 if one fails.

import { spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [chromium, base, directory] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), 'ferula-page-'));
const browser = spawn(chromium, ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
  '--remote-debugging-port=0', `--user-data-dir=${profile}`, '--window-size=1360,900', 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'] });
process.on('exit', () => browser.kill('SIGKILL'));
setTimeout(() => fail('it takes too long'), 100_000).unref();

let failures = 0;

function fail(what) {
  console.log(`FAILED ${what}`);
  process.exit(1);
}

function check(what, holds) {
  console.log(`${holds ? 'ok    ' : 'FAILED'} ${what}`);
  if (!holds) failures += 1;
}

const endpoint = await new Promise((resolve) => {
  let text = '';
  browser.stderr.on('data', (data) => {
    text += data;
    const found = /DevTools listening on (ws:\S+)/.exec(text);
    if (found) resolve(found[1]);
  });
  browser.on('exit', () => fail(`the browser ended: ${text.slice(-500)}`));
});

const socket = new WebSocket(endpoint);
await new Promise((resolve) => socket.addEventListener('open', resolve));
const waiting = new Map();
const problems = [];
let lastId = 0;
let session;
socket.addEventListener('message', ({ data }) => {
  const { id, result, error, method, params } = JSON.parse(data);
  if (id) waiting.get(id)?.(error ? fail(JSON.stringify(error)) : result);
  if (method === 'Runtime.exceptionThrown') problems.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
  if (method === 'Log.entryAdded' && params.entry.level === 'error' && !/ 4\d\d /.test(params.entry.text)) problems.push(params.entry.text);
  if (method === 'Network.requestWillBeSent' && !params.request.url.startsWith(base)) problems.push(`asks ${params.request.url}`);
});

function send(method, params = {}) {
  const id = (lastId += 1);
  socket.send(JSON.stringify({ id, method, params, sessionId: session }));
  return new Promise((resolve) => waiting.set(id, resolve));
}

async function evaluate(expression) {
  const { result, exceptionDetails } = await send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) fail(`${expression}: ${exceptionDetails.exception?.description}`);
  return result.value;
}

async function until(what, expression) {
  for (let i = 0; i < 300; i += 1) {
    if (await evaluate(expression)) return check(what, true);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  check(what, false);
}

async function shot(name, theme) {
  await send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: theme }, { name: 'prefers-reduced-motion', value: 'reduce' }] });
  await new Promise((resolve) => setTimeout(resolve, 300));
  const { data } = await send('Page.captureScreenshot', { format: 'png' });
  writeFileSync(join(directory, `${name}-${theme}.png`), Buffer.from(data, 'base64'));
}

async function shots(name) {
  await shot(name, 'light');
  await shot(name, 'dark');
}

const text = (id) => `document.getElementById('${id}').innerText`;
const click = (selector) => evaluate(`document.querySelector(${JSON.stringify(selector)}).click()`);

async function type(letters) {
  await send('Input.insertText', { text: letters });
}

async function press(key, modifiers = 0) {
  const code = { Enter: 13, Tab: 9, ArrowDown: 40, ArrowRight: 39, Escape: 27 }[key];
  const event = { key, windowsVirtualKeyCode: code, modifiers, ...(key === 'Enter' ? { text: '\r' } : {}) };
  await send('Input.dispatchKeyEvent', { type: 'keyDown', ...event });
  await send('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
}

async function open(path) {
  await send('Page.navigate', { url: base + path });
  await until(`${path} is there`, "document.readyState === 'complete' && document.querySelector('main:not([hidden])') !== null");
}

const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
({ sessionId: session } = await send('Target.attachToTarget', { targetId, flatten: true }));
for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await send(`${domain}.enable`);

const graph = '/graph?g0.expr=torches&g0.range_input=15m';
await open(graph);
await until('the graph has its series', `/3 series/.test(${text('outcome')})`);
check('the legend has a row for each', await evaluate("document.querySelectorAll('#legend [data-key]').length === 3"));
check('markup in a label value is text', await evaluate(`${text('legend')}.includes('<img src=x onerror=')`));
check('and no element', await evaluate("document.querySelector('#legend img') === null && window.ran === undefined"));
await shots('graph');

await click('#tab-table');
await until('the table has its rows', "document.querySelectorAll('#panel-table tbody tr').length === 3");
check('markup stays text there, too', await evaluate("document.querySelector('#panel-table img') === null && window.ran === undefined"));
await shots('table');

await click('#tab-plan');
await until('the plan has its parts', "document.querySelectorAll('#panel-plan tbody tr').length >= 1");
await click('#tab-graph');
await evaluate("document.getElementById('expr').select()");
await type('sum(rate( torches[1m] ))by(place)/scalar(max(torches))');
await click('#format');
await until('the expression is formatted', "document.getElementById('expr').value.includes('sum by (place) (rate(torches[1m]))')");
await evaluate("document.getElementById('expr').focus()");
await press('Enter');
await click('#tab-plan');
await until('a deeper plan has more parts', "document.querySelectorAll('#panel-plan tbody tr').length >= 5");
await shots('plan');

await click('#tab-graph');
await evaluate("document.getElementById('expr').select()");
await type('tor');
await until('a metric is offered', `/torches/.test(${text('completions')})`);
await press('Tab');
check('Tab takes it', await evaluate("document.getElementById('expr').value === 'torches'"));
await type('{pl');
await until('a label is offered', `/place/.test(${text('completions')})`);
await shots('completion');
await press('ArrowDown');
await press('Enter');
check('the keyboard takes it', await evaluate("document.getElementById('expr').value === 'torches{place'"));
await type('="');
await until('its values are offered', `/gate/.test(${text('completions')})`);
await press('Escape');
await type('gate"}');
await press('Enter');
await until('the query of the keyboard runs', `/^1 series/.test(${text('outcome')})`);
check('the address has it', await evaluate("new URL(location).searchParams.get('g0.expr') === 'torches{place=\"gate\"}'"));

await click('#add-panel');
check('the new panel has the focus', await evaluate("document.activeElement === document.querySelector('#panels textarea')"));
await type('max(torches)');
await press('Escape');
await press('Enter');
await until('the second panel has its series', "/^1 series/.test(document.querySelector('#panels .outcome').innerText)");
check('the address has both', await evaluate("new URL(location).searchParams.get('g1.expr') === 'max(torches)'"));
await shots('panels');
const shared = await evaluate('location.href');
await open('/targets');
await open(shared.slice(base.length));
await until('an address shows both again', "/^1 series/.test(document.querySelector('#panels .outcome')?.innerText ?? '')");
await click('#panels .ghost[aria-label^=Remove]');
await until('a panel is removed', "document.querySelector('#panels section') === null && !location.search.includes('g1.expr')");

await open('/graph?g0.expr=sum(torches&g0.tab=table');
await until('an error is told with its place', `/unclosed left parenthesis/.test(${text('message-error')})`);
await shots('error');

await open('/status');
await until('the store tells its series', "document.querySelectorAll('#store .tile').length >= 6");
check('and its metrics', await evaluate(`/torches/.test(${text('store')})`));
await shots('store');
await evaluate("[...document.querySelectorAll('#store .linkish')].find((b) => b.innerText === 'torches').click()");
await until('a metric leads to its series', "document.querySelectorAll('#panel-table tbody tr').length === 3");

await open('/targets');
await until('the targets are there', `document.getElementById('targets').innerText !== ''`);
await shots('targets');

check(`nothing goes wrong: ${problems.join('; ')}`, problems.length === 0);
process.exit(failures === 0 ? 0 : 1);
