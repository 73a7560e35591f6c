import { once } from "node:events";
import { createServer, type Server } from "node:net";

/** `cache-0`, `cache-1` and so on, as a StatefulSet names its pods. */
export function namesOf(members: number): string[] {
  return Array.from({ length: members }, (_, index) => `cache-${index}`);
}

/** Loopback addresses from 127.0.0.2 on, because other tests and claimed ports use 127.0.0.1. */
export function hostOf(index: number): string {
  return `127.0.0.${index + 2}`;
}

/** Listeners that hold the claimed ports until this process ends. */
const claims: Server[] = [];

/**
 * Claims two consecutive ports for members on `hostOf` addresses until this process ends; returns the first. They are below the
 * range of ephemeral ports. A claim is a listener on 127.0.0.1, so test processes that run at the same time never choose the same.
 */
export async function claimPorts(): Promise<number> {
  for (let port = 20_000 + ((process.pid * 100) % 10_000); ; port += 2) {
    const pair = await Promise.all([claim(port), claim(port + 1)]);
    const claimed = pair.filter((server) => server !== undefined);
    if (claimed.length === pair.length) {
      claims.push(...claimed);
      return port;
    }
    for (const server of claimed) server.close();
  }
}

async function claim(port: number): Promise<Server | undefined> {
  const server = createServer().unref();
  try {
    await once(server.listen(port, "127.0.0.1"), "listening");
    return server;
  } catch {
    return undefined;
  }
}
