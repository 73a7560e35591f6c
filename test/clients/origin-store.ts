import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { CreateBucketCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { GcsEmulator } from "../emulators/gcs.js";
import { S3Emulator } from "../emulators/s3.js";
import { installOriginServer } from "./install.js";
import { BUCKET, objects, WRITABLE_BUCKET } from "./objects.js";

export const CREDENTIALS = { accessKeyId: "clients", secretAccessKey: "clients-secret" };

/** The stores that the members read from. */
export interface OriginStores extends AsyncDisposable {
  /** The S3 server's name. */
  readonly name: string;
  readonly endpoint: string;
  readonly gcs: GcsEmulator;
}

/**
 * Starts an S3 server and the emulator of GCS, with all objects. The S3 server is a real one, unless it cannot be built or the emulator
 * is requested. `directory`: for its data.
 */
export async function startOrigin(directory: string, onEmulator: boolean): Promise<OriginStores> {
  const gcs = await GcsEmulator.start();
  for (const [key, bytes] of objects) gcs.put(BUCKET, key, bytes);
  gcs.objects.createBucket(WRITABLE_BUCKET);
  const program = onEmulator ? undefined : installOriginServer();
  if (program === undefined) {
    const emulator = await S3Emulator.start();
    for (const [key, bytes] of objects) emulator.put(BUCKET, key, bytes);
    emulator.objects.createBucket(WRITABLE_BUCKET);
    const close = async (): Promise<void> => void (await Promise.all([emulator.close(), gcs.close()]));
    return { name: "the emulator", endpoint: emulator.endpoint, gcs, [Symbol.asyncDispose]: close };
  }
  const port = await freePort();
  const data = join(directory, "origin");
  mkdirSync(data, { recursive: true });
  const { accessKeyId, secretAccessKey } = CREDENTIALS;
  const server = spawn(
    program,
    ["--access", accessKeyId, "--secret", secretAccessKey, "--port", `127.0.0.1:${port}`, "--quiet", "posix", data],
    { stdio: "ignore" },
  );
  const endpoint = `http://127.0.0.1:${port}`;
  await fill(endpoint, server);
  const close = async (): Promise<void> => {
    const exited = once(server, "exit");
    server.kill("SIGTERM");
    await Promise.all([exited, gcs.close()]);
  };
  return { name: "versitygw", endpoint, gcs, [Symbol.asyncDispose]: close };
}

async function fill(endpoint: string, server: ChildProcess): Promise<void> {
  const client = new S3Client({ endpoint, forcePathStyle: true, region: "us-east-1", credentials: CREDENTIALS });
  for (let attempt = 1; ; attempt++) {
    try {
      await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
      break;
    } catch (error) {
      if (attempt === 100 || server.exitCode !== null) throw error;
      await pause(100);
    }
  }
  await client.send(new CreateBucketCommand({ Bucket: WRITABLE_BUCKET }));
  for (const [Key, Body] of objects) await client.send(new PutObjectCommand({ Bucket: BUCKET, Key, Body }));
  client.destroy();
}

async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
