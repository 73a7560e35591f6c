import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { Authority } from "../../security/authority.js";
import { type Benchmark, barsOf, cpuFigures, type Figure, OURS, standingsTable, type Table } from "../answer.js";
import { OTHER_CPUS, pin, portOf, SERVER_CPU } from "../machine.js";
import { measureInTurn } from "../measure.js";
import { OriginProcess } from "../origin-process.js";
import { startBareTls } from "../peers/peer-process.js";
import { TlsReads } from "../peers/tls-reads.js";
import { KiB, MiB } from "../stage.js";

const MEMBER = `${OURS} with TLS`;
const BARE = "a bare TLS server in Node";
const SIZES = [
  { title: "64 KiB", length: 64 * KiB, warmUpReads: 4_000 },
  { title: "1 MiB", length: MiB, warmUpReads: 500 },
];
const TURNS = { rounds: 20, roundMs: 200, warmUpMs: 2_000, concurrency: 16 };

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
      const of = { member: standings.get(MEMBER)!, other: standings.get(BARE)! };
      const agreed = byMember.agreed === byBare.agreed ? byBare.agreed : `${byMember.agreed} and ${byBare.agreed}`;
      figures.push(...cpuFigures({ title, ...of, otherName: `a bare server (${agreed})`, atMost: 1.3 }));
      tables.push(standingsTable(`${title}, sixteen at a time`, standings, "GB/s"));
    }
    return { tables, figures, chart: barsOf(figures, "us") };
  },
};
