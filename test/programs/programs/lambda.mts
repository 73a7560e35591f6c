// A function as for AWS Lambda, which bundlers make one file of. The client lives as long as the instance.
import { CacheClient } from "@frontcache/client";

let connecting: Promise<CacheClient> | undefined;

export async function handler(event: { endpoint: string; url: string; offset: number; length: number }): Promise<string> {
  connecting ??= CacheClient.connect({ endpoint: event.endpoint, lazy: true, connectTimeoutMs: 60_000 });
  const cache = await connecting;
  return (await cache.readRange(event.url, event.offset, event.length)).toString("base64");
}
