// Refuses objects of Kubernetes that an API server would refuse, without one. Reads a list of objects as
// JSON; prints a list of faults for each. By the schemas of kubernetes-models: types, required fields
// and patterns. By its types, for the schemas let unknown fields pass: a compiler reads the same
// objects as literals.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const modules = fileURLToPath(new URL('../../node_modules', import.meta.url));
const objects = JSON.parse(readFileSync(0, 'utf8'));
const faults = objects.map(() => []);

const operators = {
  'cert-manager.io': '@kubernetes-models/cert-manager',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator',
};

function moduleOf(apiVersion) {
  return `${operators[apiVersion.split('/')[0]] ?? 'kubernetes-models'}/${apiVersion}`;
}

const folder = mkdtempSync(join(tmpdir(), 'waitd-objects-'));
try {
  symlinkSync(modules, join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{"type": "module"}');
  const files = [];
  for (const [index, object] of objects.entries()) {
    let model;
    try {
      model = (await import(moduleOf(object.apiVersion)))[object.kind];
    } catch {
      // Said below.
    }
    if (model === undefined) {
      faults[index].push(`there is no ${object.kind} in ${object.apiVersion}`);
      continue;
    }
    try {
      new model(object).validate();
    } catch (error) {
      faults[index].push(error.message);
    }
    files.push(`${index}.ts`);
    writeFileSync(join(folder, `${index}.ts`),
      `import type { I${object.kind} } from '${moduleOf(object.apiVersion)}';\n` +
      `export const object: I${object.kind} = ${JSON.stringify(object, null, 2)};\n`);
  }
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--target', 'es2022', '--module', 'nodenext',
    '--pretty', 'false', ...files];
  try {
    execFileSync(join(modules, '.bin/tsc'), options, { cwd: folder, encoding: 'utf8' });
  } catch (error) {
    const said = (error.stdout ?? '') + (error.stderr ?? '');
    const found = [...said.matchAll(/^(\d+)\.ts\(.*$/gm)];
    // Of the compiler's own faults none is an object's.
    if (found.length === 0) throw new Error(said || error.message);
    for (const [line, index] of found) faults[index].push(line);
  }
} finally {
  rmSync(folder, { recursive: true });
}
console.log(JSON.stringify(faults));
