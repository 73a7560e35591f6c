// Starts a member as a process, as users do.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { CREDENTIALS } from "./origin.mjs";

const BIN = join(import.meta.dirname, "..", "..", "server", "bin", "frontcache.js");

export async function startMember({ cache, endpoint }) {
  const child = spawn(
    process.execPath,
    [
      "--require",
      join(import.meta.dirname, "..", "end-with-parent.cjs"),
      BIN,
      "serve",
      "--listen",
      "127.0.0.1:0",
      "--http-listen",
      "127.0.0.1:0",
      "--cache-dirs",
      // With a size limit, because on a nearly full disk nothing would be cached without one.
      `${cache}:4GiB`,
      "--discovery",
      "none",
      "--s3-force-path-style",
      "true",
    ],
    {
      env: {
        ...process.env,
        AWS_ENDPOINT_URL_S3: endpoint,
        AWS_REGION: "us-east-1",
        AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
        AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
      },
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  const exited = new Promise((resolve) => child.once("exit", resolve));
  const listening = await Promise.race([listeningEvent(child.stdout), exited.then(() => undefined)]);
  if (listening === undefined) throw new Error("the member did not start");
  child.stdout.resume();
  return {
    grpc: listening.grpc,
    http: listening.http,
    async stop() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}

async function listeningEvent(output) {
  const lines = createInterface({ input: output });
  for await (const line of lines) {
    const event = line.startsWith("{") ? JSON.parse(line) : {};
    if (event.event === "listening") {
      lines.close();
      return event;
    }
  }
}
