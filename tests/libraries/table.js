// docs/clients.md from what was learnt of each library.
const fs = require('node:fs');
const path = require('node:path');

const MARK = { pass: '✓', fail: '✗', 'not tested': '–' };
// Waits of a library and of its preset that differ by more on average are looked at, where another preset is nearer …
const AGREES = 0.05;
// … and in any case: few random waits differ by some percent from their distribution.
const FAR = 0.15;

const seconds = ms => (ms < 1000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 100) / 10} s`);
const row = cells => `| ${cells.join(' | ')} |`;
const rows = (head, body) => [row(head), row(head.map(() => '---')), ...body.map(row)].join('\n');
const read = file => (fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : undefined);

/** `stop_codes` and the like of a preset, from its text. */
function preset(text, id) {
  const entry = text.split('[[preset]]').find(part => part.includes(`\nid = "${id}"\n`)) ?? '';
  return { entry, codes: JSON.parse(/^stop_codes = (.*)$/m.exec(entry)?.[1] ?? '[]') };
}

const among = (codes, code) => codes.some(one => {
  const [from, to = from] = one.split('-').map(Number);
  return from <= code && code <= to;
});

/** Waits by attempt: the median, and the range where they differ. */
function waits({ outages }) {
  const steps = [];
  for (const { waits_ms } of outages) waits_ms.forEach((wait, step) => (steps[step] ??= []).push(wait));
  return steps.slice(0, 6).map(all => {
    all.sort((a, b) => a - b);
    const [least, middle, most] = [all[0], all[all.length >> 1], all[all.length - 1]];
    return most - least > Math.max(20, 0.02 * middle) ? `${seconds(least)} to ${seconds(most)}` : seconds(middle);
  });
}

/** The policy that was learnt, to paste; what goes beyond waits has a table of its own. */
function schedule({ schedule: found, reconnect, outages }) {
  if (!found) return outages.length ? 'too few waits' : 'never came back';
  const waits = reconnect.replace(/^reconnect = /, '').replace(/, (stop_codes|retry_http_status|connect_timeout|reset|reset_uptime) = (\[[^\]]*\]|"[^"]*")/g, '');
  return `\`${waits}\`${found.fits ? '' : ' (does not fit)'}`;
}

const back = result => (result === null ? '–' : result.back ? seconds(result.after_ms) : `not in ${seconds(result.within_ms)}`);

// How many codes and statuses are asked about: "none" and "same" are said of all of them only.
const CODES = 12;
const STATUSES = 5;
const list = (found, all, nothing) => (all ? found.join(', ') || nothing : [...found, 'not all known'].join(', '));

/** What the preset says of the codes, beside what was seen. */
function codes({ codes: seen }, ours) {
  const away = seen.filter(({ result }) => !result.back).map(({ code }) => code);
  const asked = seen.map(({ code }) => code).filter(code => code !== 1005 && code !== 1006);
  const differ = asked.filter(code => among(ours.codes, code) !== away.includes(code));
  return [list(away, seen.length === CODES, 'none'), ours.entry ? list(differ.map(code => `**${code}**`), seen.length === CODES, 'same') : '–'];
}

module.exports = (libraries, folder, presets) => {
  const all = Object.entries(libraries).map(([library, about]) => {
    const at = path.join(folder, library);
    return { library, about, meta: read(path.join(at, 'meta.json')), found: read(path.join(at, 'learn.json')), ours: preset(presets, about.preset) };
  });
  const learnt = all.filter(({ found }) => found);
  const failed = all.filter(({ found, meta }) => !found && meta);
  if (!learnt.length) throw new Error(`nothing was learnt; ${failed.map(({ library, meta }) => `${library}: ${meta.error}`).join('; ')}`);
  const rules = learnt[0].found.rules.map(({ rule }) => rule);
  const name = ({ library, meta }) => `${library} ${meta.version}`;
  const card = learnt.map(one => [name(one), ...one.found.rules.map(({ result }) => MARK[result])]);
  const schedules = learnt.map(one => {
    const { found, about, ours } = one;
    const distance = found.nearest.find(({ preset }) => preset === about.preset)?.distance;
    const near = found.nearest[0];
    const beside = !about.preset ? 'none' : distance === undefined ? `${about.preset}: not comparable` : `${about.preset}: ${(100 * distance).toFixed(1)} %${distance > FAR || (distance > AGREES && near.preset !== about.preset) ? ' **differs**' : ''}`;
    return [name(one), `${one.meta.outages} by ${one.meta.instances}`, waits(found).join(', '), schedule(found), beside, near ? `${near.preset} ${(100 * near.distance).toFixed(1)} %` : '–'];
  });
  const answers = learnt.map(one => {
    const { found, ours } = one;
    const away = found.statuses.filter(({ result }) => !result.back).map(({ status }) => status);
    const statuses = list(away, found.statuses.length === STATUSES, 'none');
    const retry = found.retry_after && (found.retry_after.result.back ? seconds(found.retry_after.result.after_ms) + ` of ${seconds(found.retry_after.asked_ms)}` : 'stayed away');
    return [name(one), ...codes(found, ours), statuses, retry ?? '–', back(found.silence), back(found.unanswered)];
  });
  const said = key => [...new Set(learnt.map(({ meta }) => meta[key]))].sort().join(' and ');
  const loops = learnt.some(({ library }) => library === 'ws-loop');
  return `# How real client libraries come back

What \`closestorm learn\` found of ${loops ? `${learnt.length - 1} client libraries with their defaults, and of a loop on \`ws\`` : `${learnt.length} client libraries with their defaults`}, on ${said('date')}, Node ${process.versions.node}${process.env.PYTHON ? `, ${process.env.PYTHON}` : ''}, each before a small
server of its protocol (\`--upstream\`), with ${said('attempts')} refused attempts in each outage, by ${said('program')}. \`scripts/measure-clients\` makes these tables again; [learn](learn.md) says how each question is asked, and
[reconnect](reconnect.md) what the presets are. Browsers are another matter: see [the patience of a browser](learn.md#a-browser).

## Rules of good behaviour

✓ kept, ✗ broken, – not tested, or not known. Rules are in [learn](learn.md#in-ci). A library that breaks one may keep it with other options.

${rows(['library', ...rules.map(rule => `\`${rule}\``)], card)}

## Waits

Outages, and processes that had them; waits by attempt, from the cut on (median, or the range where they differ); the schedule of our model that explains them best; how far the waits of our
preset for the library are from those that were seen, on average; and the preset that is nearest.

${rows(['library', 'outages', 'waits', 'schedule that was learnt', 'our preset', 'nearest'], schedules)}

## After what it stays away, and how long it waits

Status codes and HTTP statuses after which no connection came; where our preset's \`stop_codes\` say otherwise; the wait after 503 with Retry-After; from the silence of the
server to the next connection, so with the wait before that; from a request that is never answered to its end.

${rows(['library', 'stays away after', 'preset differs at', 'HTTP statuses', 'Retry-After', 'silence noticed', 'handshake abandoned'], answers)}
${failed.length ? `\n## Not learnt\n\n${failed.map(one => `- ${one.library} ${one.meta.version}: ${one.meta.error.split('\n')[0]}`).join('\n')}\n` : ''}`;
};
