import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CacheClient } from "../../../client/src/cache-client.js";
import { makeTransport } from "../../../client/src/make-transport.js";
import { systemClock } from "../../../client/src/members/clock.js";
import type { Transport } from "../../../client/src/members/transport.js";
import { completeOptions } from "../../../client/src/options.js";
import type { MemberProcess } from "../../e2e/member-process.js";
import { freePort } from "../free-port.js";
import { findProgram } from "../machine.js";
import type { OriginProcess } from "../origin-process.js";

/** nginx as one would set it up for this: slices of 1 MiB, kept in files, sent without a copy. */
const configuration = (folder: string, port: number, origin: string): string => `
daemon off; master_process off; error_log ${folder}/error.log; pid ${folder}/pid;
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 10000000; keepalive_timeout 300s;
  open_file_cache max=10000;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  proxy_cache_path ${folder}/cache levels=1:2 keys_zone=slices:10m max_size=8g use_temp_path=off;
  server {
    listen 127.0.0.1:${port};
    location /s3/ {
      slice 1m;
      proxy_cache slices; proxy_cache_key $uri$slice_range; proxy_cache_valid 200 206 1h;
      proxy_set_header Range $slice_range; proxy_http_version 1.1;
      proxy_pass ${origin}/;
    }
  }
}
`;

/** An nginx of our own as a slice cache before the origin. */
export class Nginx implements AsyncDisposable {
  private constructor(
    private readonly child: ChildProcess,
    private readonly folder: string,
    /** `host:port`; objects are where a gateway has them. */
    readonly address: string,
  ) {}

  /** Undefined where nginx is not installed, which is said. */
  static async start(origin: OriginProcess): Promise<Nginx | undefined> {
    const program = findProgram("nginx");
    if (program === undefined) {
      console.log("  skipped: nginx, which is not installed");
      return undefined;
    }
    const [folder, port] = [await mkdtemp(join(tmpdir(), "frontcache-nginx-")), await freePort()];
    await mkdir(join(folder, "cache"));
    await writeFile(join(folder, "nginx.conf"), configuration(folder, port, origin.endpoint));
    const args = ["-p", folder, "-e", join(folder, "error.log"), "-c", join(folder, "nginx.conf")];
    const child = spawn(program, args, { stdio: "inherit" });
    const nginx = new Nginx(child, folder, `127.0.0.1:${port}`);
    const ended = once(child, "exit").then(() => Promise.reject(new Error("nginx ended before it listened")));
    ended.catch(() => {});
    await Promise.race([listening(port), ended]);
    return nginx;
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** frontcache's own client, whose bytes come from here instead of a member's gateway. */
  async client(member: MemberProcess): Promise<CacheClient> {
    const options = completeOptions({ endpoint: member.grpc, transport: "http" });
    const transport: Transport = makeTransport(options, systemClock, undefined);
    const read = transport.read.bind(transport);
    transport.read = (address, ...rest) => read({ ...address, httpAddress: this.address }, ...rest);
    transport.keepOnly = () => {};
    return CacheClient.over(options, { clock: systemClock, transport });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.child, "exit");
    this.child.kill("SIGTERM");
    await exited;
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function listening(port: number): Promise<void> {
  for (;;) {
    const socket = connect({ port, host: "127.0.0.1" });
    const stands = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    if (stands) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
