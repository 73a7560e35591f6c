import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { CacheClient } from "@frontcache/client";
import { Membership } from "@frontcache/proto";
import { findProgram, freePort } from "../machine.js";
import type { OriginProcess } from "../origin-process.js";
import { MiB, type StageObject } from "../stage.js";
import { GrpcServer } from "./grpc.js";

/**
 * nginx in one process, as for large files, which it sends by sendfile. With `tcp_nopush on`, a slice cache stalls for 40 ms at some
 * sizes.
 */
const configuration = (folder: string, port: number, server: string): string => `
daemon off; master_process off; error_log ${folder}/error.log; pid ${folder}/pid;
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush off; tcp_nodelay on; keepalive_requests 10000000; keepalive_timeout 300s;
  open_file_cache max=10000;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  proxy_cache_path ${folder}/cache levels=1:2 keys_zone=slices:10m max_size=8g use_temp_path=off;
  ${server.replaceAll("PORT", String(port)).replaceAll("FOLDER", folder)}
}
`;

/** Slices in a cache of files, and plain files. */
const sliceCache = (origin: string, slice: string): string => `
  server {
    listen 127.0.0.1:PORT;
    location /s3/ {
      slice ${slice};
      proxy_cache slices; proxy_cache_key $uri$slice_range; proxy_cache_valid 200 206 1h;
      proxy_set_header Range $slice_range; proxy_http_version 1.1;
      proxy_pass ${origin}/;
    }
    location /files/ { root FOLDER; }
  }
`;

/** A proxy without a cache, with kept connections and large buffers, and no bytes in files. */
const plainProxy = (upstream: string): string => `
  upstream next { server ${upstream}; keepalive 128; keepalive_requests 10000000; }
  server {
    listen 127.0.0.1:PORT;
    location / {
      proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffer_size 16k; proxy_buffers 8 128k; proxy_busy_buffers_size 256k; proxy_max_temp_file_size 0;
      proxy_pass http://next;
    }
  }
`;

/** A process of nginx: under `/s3/` a slice cache of the origin, under `/files/` plain files; or a proxy. */
export class Nginx implements AsyncDisposable {
  #member: GrpcServer | undefined;

  readonly #child: ChildProcess;
  readonly #folder: string;
  /** `host:port`. */
  readonly address: string;

  private constructor(child: ChildProcess, folder: string, address: string) {
    this.#child = child;
    this.#folder = folder;
    this.address = address;
  }

  /** Returns undefined, and prints a note, if nginx is not installed. `slice`: bytes of one request to the origin. */
  static start(origin: OriginProcess, slice = "1m"): Promise<Nginx | undefined> {
    return Nginx.#run(sliceCache(origin.endpoint, slice));
  }

  /** A proxy of another server at `host:port`. */
  static startProxy(upstream: string): Promise<Nginx | undefined> {
    return Nginx.#run(plainProxy(upstream));
  }

  static async #run(server: string): Promise<Nginx | undefined> {
    const program = findProgram("nginx");
    if (program === undefined) {
      console.log("  skipped: nginx is not installed");
      return undefined;
    }
    const [folder, port] = [await mkdtemp(join(tmpdir(), "frontcache-nginx-")), await freePort()];
    await mkdir(join(folder, "cache"));
    await writeFile(join(folder, "nginx.conf"), configuration(folder, port, server));
    const args = ["-p", folder, "-e", join(folder, "error.log"), "-c", join(folder, "nginx.conf")];
    const child = spawn(program, args, { stdio: "inherit" });
    const nginx = new Nginx(child, folder, `127.0.0.1:${port}`);
    const ended = once(child, "exit").then(() => Promise.reject(new Error("nginx ended before it listened")));
    ended.catch(() => {});
    await Promise.race([untilItListens(port), ended]);
    return nginx;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Stores an object as a plain file. Returns its path. */
  async addFile(origin: OriginProcess, { key }: StageObject): Promise<string> {
    const file = join(this.#folder, "files", key);
    const response = await fetch(`${origin.endpoint}/bench/${key}`);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, Buffer.from(await response.arrayBuffer()));
    return `/files/${key}`;
  }

  /** frontcache's client, which reads from nginx: a member list names nginx as the HTTP listener of the only member. */
  async client(): Promise<CacheClient> {
    let list: Parameters<typeof Membership.fromMessage>[0] | undefined;
    const member = await GrpcServer.start({ WatchMembers: (call) => void call.write(list as never) });
    this.#member = member;
    list = Membership.of([{ name: "nginx", grpcAddress: member.address, httpAddress: this.address }], 16 * MiB).toMessage(
      "nginx",
    );
    return CacheClient.connect({ endpoint: member.address, transport: "http" });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#member?.[Symbol.dispose]();
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await exited;
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function untilItListens(port: number): Promise<void> {
  for (;;) {
    const socket = connect({ port, host: "127.0.0.1" });
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
