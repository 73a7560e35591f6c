import { once } from "node:events";
import { createServer } from "node:net";

/** `cache-0`, `cache-1` and so on, as a StatefulSet names its pods. */
export function namesOf(members: number): string[] {
  return Array.from({ length: members }, (_, index) => `cache-${index}`);
}

/** Loopback addresses from 127.0.0.2 on, because other tests use 127.0.0.1. */
export function hostOf(index: number): string {
  return `127.0.0.${index + 2}`;
}

/**
 * Returns the first of two consecutive ports that are free on all addresses, below the range of ephemeral ports. Test processes
 * that run at the same time have process ids next to each other: their searches begin 100 ports apart.
 */
export async function freePorts(): Promise<number> {
  for (let port = 20_000 + ((process.pid * 100) % 10_000); ; port += 2)
    if ((await isFree(port)) && (await isFree(port + 1))) return port;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    await once(server.listen(port, "0.0.0.0"), "listening");
    return true;
  } catch {
    return false;
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}
