import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { type Answer, type Benchmark, barsOf, type Figure, type Table } from "../answer.js";
import { sendUpload, type UploadForm, uploadOf } from "../load/upload.js";
import { anonymousBytes, cpuMs, portOf } from "../machine.js";
import { median, quick, timeMs } from "../measure.js";
import { startUploadSink } from "../peers/peer-process.js";
import { MiB } from "../stage.js";

const ROUNDS = 5;
const MEBIBYTES = 1024;
const FORMS: readonly UploadForm[] = ["plain", "crc32", "trailer"];

interface Sent {
  readonly name: string;
  readonly direct: number;
  readonly through: number;
  /** CPU milliseconds of the member for each GiB. */
  readonly memberCpuMs: number;
  readonly sinkCpuMs: number;
  readonly moreBytes: number;
}

export const benchmark: Benchmark = {
  question: "How fast is a PUT of 1 GiB through a member, compared with a PUT straight to the same origin?",
  run,
};

async function run(): Promise<Answer> {
  const results = [...(await against(true, FORMS)), ...(await against(false, ["crc32"]))];
  const figures: Figure[] = results.flatMap(({ name, direct, through, moreBytes }, at) => {
    const isTarget = at < FORMS.length;
    return [
      {
        name: `${name}: rate through the member / direct`,
        value: through / direct,
        unit: "x",
        ...(isTarget && { atLeast: 0.8 }),
      },
      { name: `${name}: more memory`, value: moreBytes / MiB, unit: "MiB", atMost: 64 },
    ];
  });
  const table: Table = {
    columns: ["PUT of 1 GiB", "direct MB/s", "through MB/s", "member CPU s/GiB", "origin CPU s/GiB"],
    rows: results.map(({ name, direct, through, memberCpuMs, sinkCpuMs }) => [
      name,
      direct,
      through,
      memberCpuMs / 1e3,
      sinkCpuMs / 1e3,
    ]),
  };
  return { tables: [table], figures, chart: barsOf(figures, "x") };
}

async function against(isHashed: boolean, forms: readonly UploadForm[]): Promise<Sent[]> {
  await using sink = await startUploadSink(isHashed);
  await using directory = await temporaryDirectory();
  const flags = ["--writes", "anonymous"];
  await using member = await MemberProcess.start({
    endpoint: `http://127.0.0.1:${sink.port}`,
    cacheDirectory: directory.path,
    flags,
  });
  const port = portOf(member.s3);
  const mebibytes = Math.ceil(quick(MEBIBYTES));
  const results: Sent[] = [];
  for (const form of forms) {
    const upload = uploadOf(`/bench/${form}`, mebibytes, form);
    await sendUpload(port, uploadOf("/bench/warm-up", 64, form));
    const rest = anonymousBytes(member.pid);
    let peak = rest;
    const watch = setInterval(() => {
      peak = Math.max(peak, anonymousBytes(member.pid));
    }, 20);
    const [direct, through]: [number[], number[]] = [[], []];
    const [memberCpu, sinkCpu]: [number[], number[]] = [[], []];
    const rate = (ms: number): number => (mebibytes * MiB) / 1e3 / ms;
    for (let round = 0; round < quick(ROUNDS); round++) {
      direct.push(rate(await timeMs(() => sendUpload(sink.port, upload))));
      const [before, beforeSink] = [cpuMs(member.pid), cpuMs(sink.pid)];
      through.push(rate(await timeMs(() => sendUpload(port, upload))));
      const perGib = MEBIBYTES / mebibytes;
      memberCpu.push((cpuMs(member.pid) - before) * perGib);
      sinkCpu.push((cpuMs(sink.pid) - beforeSink) * perGib);
    }
    clearInterval(watch);
    const name = `${form}${isHashed ? "" : ", an origin that does not hash"}`;
    const medians = { direct: median(direct), through: median(through) };
    results.push({ name, ...medians, memberCpuMs: median(memberCpu), sinkCpuMs: median(sinkCpu), moreBytes: peak - rest });
  }
  return results;
}
