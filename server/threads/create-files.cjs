// A thread that creates and removes small files, for file-creator.ts. Plain CommonJS beside the sources and the build, so that both find it at
// the same place. It blocks in system calls: each costs a fraction of a call in the thread pool.
const fs = require("node:fs");
const { parentPort, workerData } = require("node:worker_threads");

const { O_RDWR, O_CREAT, O_EXCL } = fs.constants;

/** The bytes of all files of a message, one after the other. */
const bytes = new Uint8Array(workerData);

function write(fd, start, end, position) {
  for (let at = start; at < end; ) at += fs.writeSync(fd, bytes, at, end - at, position + at - start);
}

/** Creates a file from its pieces: position in the file, length, for each. Returns its descriptor and the end of its bytes. */
function create(path, pieces, start) {
  const fd = fs.openSync(path, O_RDWR | O_CREAT | O_EXCL, 0o600);
  try {
    let at = start;
    for (let i = 0; i < pieces.length; i += 2) {
      write(fd, at, at + pieces[i + 1], pieces[i]);
      at += pieces[i + 1];
    }
    return fd;
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

/** Returns the failure; undefined: none. */
function remove(path) {
  try {
    fs.unlinkSync(path);
    return undefined;
  } catch ({ code, message }) {
    return { code, message };
  }
}

parentPort.on("message", ({ files, closed, removed }) => {
  let start = 0;
  const created = [];
  for (let i = 0; i < files.length; i += 2) {
    const [path, pieces] = [files[i], files[i + 1]];
    try {
      created.push(create(path, pieces, start));
    } catch ({ code, message }) {
      created.push({ code, message });
    }
    for (let p = 1; p < pieces.length; p += 2) start += pieces[p];
  }
  for (const fd of closed) {
    try {
      fs.closeSync(fd);
    } catch {
      // The descriptor is closed all the same.
    }
  }
  parentPort.postMessage({ created, removed: removed.map(remove) });
});
parentPort.postMessage("ready");
