import { link, readFile, rm, writeFile } from "node:fs/promises";

/** The result of an attempt to lock: `release` ends the lock; `holder` says which process has it. */
export type ProcessLock = { readonly release: () => Promise<void> } | { readonly holder: string };

/**
 * Locks a directory for this process by a file with its process ID and start time. The lock of a process that died is taken over.
 * It holds between the processes of one host or container: those of another one cannot be seen. Rejects with the system's error.
 */
export async function lockByProcessId(path: string): Promise<ProcessLock> {
  const own = `${process.pid} ${(await startedAt(process.pid)) ?? ""}`.trim();
  // The lock appears with its content: another process never reads an empty one and takes its owner for dead.
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, own, { mode: 0o600 });
  try {
    for (;;) {
      if (await linked(draft, path)) return { release: () => rm(path, { force: true }) };
      const holder = await holderOf(path);
      if (holder === undefined) continue;
      if (await isAlive(holder)) return { holder };
      await rm(path, { force: true });
    }
  } finally {
    await rm(draft, { force: true });
  }
}

/** Returns false if the lock exists. */
async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Returns undefined if the lock was released meanwhile. */
async function holderOf(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Returns whether the process of `<id> <start>` is running. An ID alone may have been reused. */
async function isAlive(holder: string): Promise<boolean> {
  const [id, start] = holder.split(" ");
  if (!/^[1-9]\d*$/.test(id ?? "")) return false;
  try {
    process.kill(Number(id), 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  return start === undefined || (await startedAt(Number(id))) === start;
}

/**
 * Returns the start time of a process in kernel ticks: the 22nd field of its stat file. Undefined on systems other than Linux.
 */
async function startedAt(processId: number): Promise<string | undefined> {
  try {
    const text = await readFile(`/proc/${processId}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}
