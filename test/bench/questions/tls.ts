import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { Authority } from "../../security/authority.js";
import { type Benchmark, barsOf, type Figure, OURS, standingsTable, type Table } from "../answer.js";
import { OTHER_CPUS, pin, portOf, SERVER_CPU } from "../machine.js";
import { measureInTurn, type Standing } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { startBareTls, TlsReads } from "../peers/tls-reads.js";
import { KiB, MiB } from "../stage.js";

const MEMBER = `${OURS} with TLS`;
const BARE = "a bare TLS server in Node";
const SIZES = [
  { title: "64 KiB", length: 64 * KiB, warmUpReads: 4_000 },
  { title: "1 MiB", length: MiB, warmUpReads: 500 },
];
const TURNS = { rounds: 9, roundMs: 300, warmUpMs: 2_000, concurrency: 16 };

/** CPU microseconds of the server for each read. */
function cpuUs({ serverCpu }: Standing, length: number): number {
  return (serverCpu! * length * 1e6) / 1e9;
}

export const benchmark: Benchmark = {
  question: "What does a cached read cost with TLS, beside a server in Node that writes the same bytes from memory?",
  async run() {
    await using directory = await temporaryDirectory();
    const authority = await Authority.create("bench");
    const { cert, key } = await authority.issue("localhost");
    const files = [join(directory.path, "cert.pem"), join(directory.path, "key.pem")] as const;
    writeFileSync(files[0], cert);
    writeFileSync(files[1], key);
    await using origin = await OriginProcess.start();
    const cacheDirectory = join(directory.path, "cache");
    const flags = ["--tls-cert", files[0], "--tls-key", files[1]];
    await using member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory, flags });
    const object = await origin.putObject("tls", 16 * MiB);
    using bare = await startBareTls(files);
    const path = `/s3/bench/${object.key}`;
    const target = (name: string, port: number, serverPid: number) => ({ name, port, path, ca: authority.pem, serverPid });
    for (const pid of [member.pid, bare.pid]) pin(pid, SERVER_CPU);
    pin(process.pid, OTHER_CPUS);
    const tables: Table[] = [];
    const figures: Figure[] = [];
    for (const { title, length, warmUpReads } of SIZES) {
      using byMember = new TlsReads(target(MEMBER, portOf(member.http), member.pid), length);
      using byBare = new TlsReads(target(BARE, bare.port, bare.pid), length);
      const standings = await measureInTurn([byMember, byBare], { ...TURNS, warmUpReads });
      const [ours, theirs] = [cpuUs(standings.get(MEMBER)!, length), cpuUs(standings.get(BARE)!, length)];
      figures.push(
        { name: `${title}: CPU of the member (${byMember.agreed})`, value: ours, unit: "us" },
        { name: `${title}: CPU of a bare server (${byBare.agreed})`, value: theirs, unit: "us" },
        { name: `${title}: member / bare server`, value: ours / theirs, unit: "x", atMost: 1.3 },
      );
      tables.push(standingsTable(`${title}, sixteen at a time`, standings, "GB/s"));
    }
    return { tables, figures, chart: barsOf(figures, "us") };
  },
};
