import { once } from "node:events";
import { chmod, lstat, rename, rm, stat } from "node:fs/promises";
import { connect, type Server } from "node:net";
import { dirname } from "node:path";
import { socketAddressOf } from "@frontcache/proto";

/** A Unix socket that a server listens on. */
export interface SocketFile {
  /** Removes the socket, unless another process has replaced it. */
  remove(): Promise<void>;
}

/**
 * Has a server listen on a Unix socket with these permissions. The socket appears at its path only with them: it is bound to a name
 * beside it, and renamed. A socket that a process left behind when it was killed is replaced. Rejects with an error with the system's
 * code: EADDRINUSE if a process listens on it, EEXIST if the path is another kind of file, ENOENT if its directory does not exist.
 */
export async function listenOnSocket(server: Server, path: string, mode: number): Promise<SocketFile> {
  await requireFree(path);
  const draft = `${path}.${process.pid}`;
  await rm(draft, { force: true });
  await once(server.listen(draft), "listening");
  try {
    await chmod(draft, mode);
    const { dev, ino } = await lstat(draft);
    await rename(draft, path);
    return { remove: () => removeOwn(path, { dev, ino }) };
  } catch (error) {
    server.close();
    throw error;
  }
}

async function requireFree(path: string): Promise<void> {
  // The error of listening would be that of missing permissions.
  const directory = dirname(path);
  await stat(directory).catch((error: Error) => {
    throw Object.assign(error, { address: directory });
  });
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (found === undefined) return;
  const refuse = (code: string, why: string): never => {
    throw Object.assign(new Error(`${socketAddressOf(path)} ${why}`), { code, address: path });
  };
  if (!found.isSocket()) refuse("EEXIST", "is a file of another kind: remove it, or choose another path");
  // Only this error says that no process listens. All others, for example missing permissions, leave it open.
  if ((await connectionError(path)) !== "ECONNREFUSED") refuse("EADDRINUSE", "is in use by another process");
}

/** Returns the code of the error of a connection; undefined: it was accepted. */
function connectionError(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code ?? "UNKNOWN"));
  });
}

async function removeOwn(path: string, own: { readonly dev: number; readonly ino: number }): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.ino === own.ino && found.dev === own.dev) await rm(path, { force: true });
}
