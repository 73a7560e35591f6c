import type { Client } from "./clients.js";
import type { Exercise } from "./exercise.js";
import { expected, type ReadObject, WRITABLE_BUCKET } from "./objects.js";
import { CREDENTIALS, type OriginStores } from "./origin-store.js";
import { evict, type Stage } from "./stage.js";

/** A client reads all objects twice: when no member has cached anything, and when they have. */
export function readingOf({ script, args, checksItself }: Client, stage: Stage, origin: OriginStores): Exercise[] {
  const environment = {
    COUNT: String(expected.size),
    KEYS: JSON.stringify([...expected.keys()]),
    ORIGIN: origin.endpoint,
    ORIGIN_BUCKET: WRITABLE_BUCKET,
    ORIGIN_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
    ORIGIN_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
  };
  return (["cold", "cached"] as const).map((name) => ({
    name,
    perform: async (run) => {
      if (name === "cold") await evict(stage);
      const { stdout, problem } = await run({ script, args, environment });
      return problem ?? (checksItself === true ? undefined : difference(stdout));
    },
  }));
}

/** Lines of JSON: `{"key", "size", "md5"}` for each object, `{"listed": [...]}` for a listing of the bucket. */
function difference(stdout: string): string | undefined {
  const read = new Map<string, ReadObject>();
  let listed: string[] | undefined;
  for (const line of stdout.split("\n")) {
    if (!line.startsWith("{")) continue;
    const entry = JSON.parse(line) as { key?: string; listed?: string[] } & ReadObject;
    if (entry.listed !== undefined) listed = entry.listed;
    else if (entry.key !== undefined) read.set(entry.key, { size: entry.size, md5: entry.md5 });
  }
  const keys = [...expected.keys()].sort();
  if (listed !== undefined && JSON.stringify([...listed].sort()) !== JSON.stringify(keys))
    return `it lists ${JSON.stringify(listed)}`;
  const wrong = keys.filter((key) => JSON.stringify(read.get(key)) !== JSON.stringify(expected.get(key)));
  return wrong.length === 0 ? undefined : `it reads otherwise: ${wrong.map((key) => JSON.stringify(key)).join(", ")}`;
}
