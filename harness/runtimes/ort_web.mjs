// ONNX Runtime Web in Node: answers frames (see frames.py) on standard input and output.
// Argument: the folder whose node_modules holds onnxruntime-web.
import { readFile } from "node:fs/promises";
import { writeSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const ort = createRequire(join(resolve(process.argv[2]), "x.js"))("onnxruntime-web");
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
for (const name of ["log", "info", "warn", "debug"]) console[name] = () => {};

const ARRAYS = {
  bool: Uint8Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array,
  int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array,
  float16: Uint16Array, float32: Float32Array, float64: Float64Array,
};
const MAGIC = Buffer.from("FRM1");
const sessions = new Map();
let next = 0;

async function answer(header, tensors) {
  if (header.do === "load") {
    const session = await ort.InferenceSession.create(await readFile(header.path), {
      executionProviders: ["wasm"], graphOptimizationLevel: "all", logSeverityLevel: 4,
    });
    sessions.set(next, session);
    return [{ session: next++ }, []];
  }
  const session = sessions.get(header.session);
  if (header.do === "evidence") {
    return [{ evidence: { version: ort.env.versions.web, threads: ort.env.wasm.numThreads } }, []];
  }
  const given = Object.keys(tensors).sort().join(", ") || "none";
  const taken = [...session.inputNames].sort().join(", ") || "none";
  if (given !== taken) throw new Error(`inputs given: ${given}; the model takes: ${taken}`);
  const results = await session.run(tensors);
  return [{}, session.outputNames.map((name) => [name, results[name]])];
}

function send(header, outputs) {
  const listed = outputs.map(([name, tensor]) => {
    const type = tensor.type;
    if (!(type in ARRAYS)) throw new Error(`output ${name} has type ${type}, which cannot be sent`);
    return [name, type, [...tensor.dims]];
  });
  const head = Buffer.from(JSON.stringify({ ...header, tensors: listed }));
  const size = Buffer.alloc(4);
  size.writeUInt32LE(head.length);
  const bodies = outputs.map(([, { data }]) =>
    Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  let frame = Buffer.concat([MAGIC, size, head, ...bodies]);
  while (frame.length) {
    try {
      frame = frame.subarray(writeSync(1, frame));
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

async function* frames() {
  let held = Buffer.alloc(0);
  const source = process.stdin[Symbol.asyncIterator]();
  const take = async (count) => {
    const parts = [held];
    let there = held.length;
    while (there < count) {
      const { value, done } = await source.next();
      if (done) return null;
      parts.push(value);
      there += value.length;
    }
    const all = Buffer.concat(parts);
    held = all.subarray(count);
    return all.subarray(0, count);
  };
  for (;;) {
    const start = await take(8);
    if (start && !start.subarray(0, 4).equals(MAGIC)) throw new Error("not a frame");
    const head = start && (await take(start.readUInt32LE(4)));
    if (!head) return;
    const header = JSON.parse(head);
    const tensors = {};
    for (const [name, type, shape] of header.tensors) {
      const View = ARRAYS[type];
      const count = shape.reduce((product, size) => product * size, 1);
      const bytes = await take(count * View.BYTES_PER_ELEMENT);
      if (!bytes) return;
      const copy = new Uint8Array(bytes).buffer;
      tensors[name] = new ort.Tensor(type, new View(copy), shape);
    }
    yield [header, tensors];
  }
}

for await (const [header, tensors] of frames()) {
  for (const number of header.close) {
    const session = sessions.get(number);
    sessions.delete(number);
    await session?.release();
  }
  try {
    send(...(await answer(header, tensors)));
  } catch (error) {
    const told = String(error?.message ?? error).split("\n").map((line) => line.trim());
    const line = told.filter(Boolean).join(" ");
    send({ error: line.length > 300 ? `${line.slice(0, 299)}…` : line }, []);
  }
}
