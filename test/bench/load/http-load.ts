import { execFileSync, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram } from "../machine.js";

/** GET requests for one HTTP listener on loopback. */
export interface LoadOrder {
  readonly port: number;
  /** Path of each request; `{n}` is replaced by the number of the request. */
  readonly path: string;
  /** Each connection has one request at a time. */
  readonly connections: number;
  /** Stops after this time, */
  readonly seconds: number;
  /** or after this many requests. */
  readonly requests?: number;
  /** Random aligned ranges of `length` bytes within `span` bytes from `first`; absent: whole objects. */
  readonly range?: { readonly length: number; readonly first: number; readonly span: number };
  /** A header that each request carries; or several, as lines of one text. */
  readonly header?: string | undefined;
}

/** What the load generator measured. Latencies are in microseconds; absent where this load generator has none. */
export interface LoadResult {
  readonly requests: number;
  readonly failures: number;
  readonly seconds: number;
  readonly bytes: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly firstByteP50Us?: number;
  /** CPU time of the load generator itself. */
  readonly cpuSeconds?: number;
}

/** A load generator that runs in a process of its own. */
export interface LoadGenerator extends AsyncDisposable {
  readonly name: string;
  /** Runs on the given CPUs (`0`, `1-3`); undefined: on all. */
  run(order: LoadOrder, cpuList?: string): Promise<LoadResult>;
}

/**
 * The fastest load generator of this machine, unless `FRONTCACHE_BENCH_LOAD` names one (`range-load`, `wrk`, `node`):
 * `range-load.c` if there is a C compiler, else wrk, else one in Node, which limits the rates of small reads.
 */
export function startLoadGenerator(requested = process.env.FRONTCACHE_BENCH_LOAD): LoadGenerator {
  const [compiler, wrk] = [findProgram("cc") ?? findProgram("gcc"), findProgram("wrk")];
  if (compiler !== undefined && (requested ?? "range-load") === "range-load") return new RangeLoad(compiler);
  if (wrk !== undefined && (requested ?? "wrk") === "wrk") return new Wrk(wrk);
  if (requested !== undefined && requested !== "node")
    throw new Error(`the load generator ${requested} is not available on this machine`);
  if (requested === undefined)
    console.log("  note: neither a C compiler nor wrk is installed, so the load generator in Node limits the rates");
  return new NodeLoad();
}

/** Runs a program to its end and returns what it printed. */
async function output(program: string, args: readonly string[], cpuList: string | undefined): Promise<string> {
  const command = cpuList === undefined ? [program, ...args] : ["taskset", "-c", cpuList, program, ...args];
  const child = spawn(command[0]!, command.slice(1), { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  const [exitCode] = (await once(child, "close")) as [number | null];
  if (exitCode !== 0) throw new Error(`${program} ended with exit code ${exitCode}: ${args.join(" ")}`);
  return text;
}

class RangeLoad implements LoadGenerator {
  readonly name = "range-load";
  readonly #folder = mkdtempSync(join(tmpdir(), "frontcache-range-load-"));
  readonly #program = join(this.#folder, "range-load");

  constructor(compiler: string) {
    execFileSync(compiler, ["-O2", "-o", this.#program, join(import.meta.dirname, "range-load.c")]);
  }

  async run({ port, path, connections, seconds, requests = 0, range, header }: LoadOrder, cpuList?: string): Promise<LoadResult> {
    const { length, first, span } = range ?? { length: 0, first: 0, span: 0 };
    const numbers = [port, connections, seconds, requests, length, first, span].map(String);
    const text = await output(this.#program, [...numbers, path, ...(header === undefined ? [] : [header])], cpuList);
    return JSON.parse(text) as LoadResult;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true });
  }
}

/** CPU time of all child processes that have ended, in steps of 10 ms. */
function endedChildrenCpuSeconds(): number {
  const stat = readFileSync("/proc/self/stat", "latin1");
  // The name may contain spaces. Fields 16 and 17 are cutime and cstime, in ticks of 10 ms.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[13]) + Number(fields[14])) / 100;
}

class Wrk implements LoadGenerator {
  readonly name = "wrk";
  readonly #folder = mkdtempSync(join(tmpdir(), "frontcache-wrk-"));

  readonly #program: string;

  constructor(program: string) {
    this.#program = program;
  }

  async run({ port, path, connections, seconds, requests, range, header }: LoadOrder, cpuList?: string): Promise<LoadResult> {
    // wrk has no limit of requests, and whole seconds only.
    if (requests !== undefined) throw new Error("this question needs the load generator range-load or node");
    const script = join(this.#folder, "script.lua");
    const { length, first, span } = range ?? { length: 1, first: 0, span: 1 };
    const headers = (header?.split("\r\n") ?? []).map((line) => line.split(/: (.*)/) as [name: string, value: string]);
    writeFileSync(
      script,
      `local headers = {}
local number = -1
${headers.map(([name, value]) => `headers[${JSON.stringify(name)}] = ${JSON.stringify(value)}`).join("\n")}
request = function()
  number = number + 1
  local offset = ${first} + math.random(0, ${Math.floor(span / length) - 1}) * ${length}
  ${range === undefined ? "" : `headers["Range"] = "bytes=" .. offset .. "-" .. (offset + ${length - 1})`}
  return wrk.format("GET", (string.gsub(${JSON.stringify(path)}, "{n}", number)), headers)
end
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format('\\n{"requests":%d,"failures":%d,"seconds":%f,"bytes":%d,"p50Us":%f,"p99Us":%f}\\n', summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout, summary.duration / 1e6, summary.bytes,
    latency:percentile(50), latency:percentile(99)))
end
`,
    );
    const whole = Math.max(1, Math.round(seconds));
    const url = `http://127.0.0.1:${port}${path}`;
    const before = endedChildrenCpuSeconds();
    const text = await output(this.#program, ["-t1", `-c${connections}`, `-d${whole}s`, "-s", script, url], cpuList);
    const result = JSON.parse(text.slice(text.indexOf("\n{"))) as LoadResult;
    return { ...result, cpuSeconds: endedChildrenCpuSeconds() - before };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true });
  }
}

/** The load generator in Node, a new process for each run. */
class NodeLoad implements LoadGenerator {
  readonly name = "node";

  async run(order: LoadOrder, cpuList?: string): Promise<LoadResult> {
    const child = fork(join(import.meta.dirname, "node-load-main.ts"), { execArgv: ["--import", "tsx"] });
    await once(child, "message");
    if (cpuList !== undefined) execFileSync("taskset", ["-acp", cpuList, String(child.pid)], { stdio: "ignore" });
    child.send(order);
    const [result] = (await once(child, "message")) as [LoadResult];
    child.disconnect();
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
