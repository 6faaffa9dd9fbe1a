// A client in Node, from the contract alone: opens a session, waits, readies, resumes it, and ends
// with its close(). Run with the server's address: WAITD_ADDRESS=... node --test tests/node
'use strict';

const assert = require('node:assert');
const path = require('node:path');
const { test } = require('node:test');

const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const PROTO = path.join(__dirname, '..', '..', 'proto');
const { waitd } = grpc.loadPackageDefinition(loader.loadSync('waitd/v1/waitd.proto', {
  includeDirs: [PROTO], keepCase: true, longs: Number, enums: String, defaults: false, oneofs: true,
}));
const LIMIT_MS = 30_000;

// A stream of a session: its results by id as promises, acknowledged as they come.
class Stream {
  constructor(client, hello) {
    this.waiting = new Map();
    this.seen = hello.acked_sequence ?? 0;
    this.call = client.Session({ deadline: Date.now() + LIMIT_MS });
    this.ended = new Promise((resolve) => {
      this.call.on('status', resolve);
    });
    this.call.on('error', () => {});  // the status says it, too
    this.welcome = new Promise((resolve) => {
      this.call.on('data', (response) => {
        if (response.welcome) resolve(response.welcome);
        if (response.sequence) this.take(response);
      });
    });
    this.call.write({ hello });
  }

  take(response) {
    assert.strictEqual(response.sequence, this.seen + 1);
    this.seen = response.sequence;
    for (const result of response.results) this.waiting.get(result.id)?.(result);
    if (!this.quiet) this.call.write({ acked_sequence: this.seen });
  }

  result(id) {
    return new Promise((resolve) => this.waiting.set(id, resolve));
  }

  start(id, operation) {
    const result = this.result(id);
    this.call.write({ operations: [{ id, ...operation }] });
    return result;
  }
}

// Asks until the answer is true; each asking is a call.
async function eventually(client, name, check) {
  const end = Date.now() + LIMIT_MS;
  for (;;) {
    const got = await new Promise((resolve, reject) => {
      client.GetPollDescriptor({ name }, (error, answer) => {
        if (error) reject(error); else resolve(answer.poll_descriptor);
      });
    });
    if (check(got)) return;
    assert.ok(Date.now() < end, 'not in time');
  }
}

test('a session waits, readies, resumes and ends', async () => {
  const client = new waitd.v1.WaitService(
    process.env.WAITD_ADDRESS, grpc.credentials.createInsecure());
  try {
    await use(client);
  } finally {
    client.close();
  }
});

async function use(client) {
  const name = `node/${process.pid}`;

  const first = new Stream(client, { client: 'node' });
  const welcome = await first.welcome;
  assert.ok(welcome.resume_token && !welcome.resumed);
  const opened = await first.start(1, { open: { name, options: { kind: 'KIND_FIFO' } } });
  assert.strictEqual(opened.open.created, true);
  const woken = first.start(2, { wait: { name, wait_id: 'a' } });
  const ready = await first.start(3, { ready: { name, signal: { data: Buffer.from('x') } } });
  assert.strictEqual(ready.ready.effect, 'READY_EFFECT_WOKE');
  const answer = (await woken).wait;
  assert.strictEqual(answer.outcome, 'OUTCOME_READY');
  assert.strictEqual(answer.signal.data.toString(), 'x');
  assert.ok(Number.isSafeInteger(answer.generation) && answer.generation > 0);
  const refused = await first.start(4, { wait: { name: '' } });
  assert.strictEqual(refused.error.reason, 'BAD_NAME');

  // The stream breaks while a wait is parked.
  first.start(5, { wait: { name, wait_id: 'b' } });
  await eventually(client, name, (got) => got.read.waiters === 1);
  first.quiet = true;
  const seen = first.seen;
  first.call.cancel();
  assert.strictEqual((await first.ended).code, grpc.status.CANCELLED);
  const second = new Stream(client, {
    client: 'node', resume_token: welcome.resume_token, acked_sequence: seen });
  const released = second.result(5);
  const again = await second.welcome;
  assert.deepStrictEqual([again.resumed, again.received_through], [true, 5]);
  await second.start(6, { ready: { name, signal: { data: Buffer.from('y') } } });
  assert.strictEqual((await released).wait.signal.data.toString(), 'y');

  const rest = second.start(7, { close: { name } });
  second.quiet = true;
  second.call.end();
  assert.ok((await rest).close);
  assert.strictEqual((await second.ended).code, grpc.status.OK);
}
