import type { KoffiFunc } from "koffi";

/** An address; koffi represents addresses as BigInt. */
export type Address = bigint;

/** Functions of the C library that Node does not provide. They return -1 (mmap: all ones) on failure. */
export interface Libc {
  mmap(address: Address, lengthBytes: number, protection: number, flags: number, fd: number, offset: number): Address;
  readonly madvise: KoffiFunc<(address: Address, lengthBytes: number, advice: number) => number>;
  mincore(address: Address, lengthBytes: number, residency: Uint8Array): number;
  lseek(fd: number, offset: number, whence: number): number | bigint;
  getpagesize(): number;
  posixFadvise(fd: number, offset: number, lengthBytes: number, advice: number): number;
  cachestat(systemCall: number, fd: number, range: BigUint64Array, stat: BigUint64Array, flags: number): number | bigint;
  readonly fallocate: KoffiFunc<(fd: number, mode: number, offset: number, lengthBytes: number) => number>;
  flock(fd: number, operation: number): number;
  /** `vectors` is an address; undefined if the library lacks it (musl before 1.2.5). */
  readonly preadv2: ((fd: number, vectors: Address, count: number, offset: number, flags: number) => number | bigint) | undefined;
  /** Returns the number of bytes that the kernel took. */
  send(socket: number, bytes: Uint8Array, lengthBytes: number, flags: number): number | bigint;
  /** Returns the number of bytes that the kernel took. `offset`: one number, the position in the file; the call advances it. */
  sendfile(socket: number, file: number, offset: BigInt64Array, lengthBytes: number): number | bigint;
  /** Moves bytes from or into a pipe; returns their number. */
  splice(from: number, fromOffset: null, to: number, toOffset: null, lengthBytes: number, flags: number): number | bigint;
  /** `descriptors`: two numbers, which it sets. */
  pipe2(descriptors: Int32Array, flags: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  /** `argument`: the numbers that the request reads or sets. */
  ioctl(fd: number, request: number, argument: Int32Array): number;
  setsockopt(socket: number, level: number, option: number, value: Int32Array, valueBytes: number): number;
  /** The error number of the last call. */
  errno(): number;
  /** Returns the memory at an address as an ArrayBuffer, valid while it is mapped. */
  view(address: Address, lengthBytes: number): ArrayBuffer;
}

/** The names of the C libraries of glibc and musl. */
const NAMES = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

let loaded: Promise<Libc | undefined> | undefined;

/** Loads the C library; undefined on systems other than Linux, and if koffi is not installed or does not load. */
export function loadLibc(): Promise<Libc | undefined> {
  loaded ??= process.platform === "linux" ? load().catch(() => undefined) : Promise.resolve(undefined);
  return loaded;
}

async function load(): Promise<Libc> {
  const { default: koffi } = await import("koffi");
  const library = open(koffi);
  return {
    mmap: library.func("void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)"),
    madvise: library.func("int madvise(void *addr, size_t length, int advice)"),
    mincore: library.func("int mincore(void *addr, size_t length, void *vec)"),
    lseek: library.func("int64_t lseek(int fd, int64_t offset, int whence)"),
    getpagesize: library.func("int getpagesize()"),
    posixFadvise: library.func("int posix_fadvise(int fd, int64_t offset, int64_t len, int advice)"),
    cachestat: library.func("int64_t syscall(int64_t n, int64_t fd, void *range, void *stat, int64_t flags)"),
    fallocate: library.func("int fallocate(int fd, int mode, int64_t offset, int64_t len)"),
    flock: library.func("int flock(int fd, int operation)"),
    preadv2: known(() => library.func("int64_t preadv2(int fd, void *vectors, int count, int64_t offset, int flags)")),
    send: library.func("int64_t send(int socket, void *bytes, size_t length, int flags)"),
    // Where offsets have 32 bits, this is the call with 64 bits; elsewhere it is the same one.
    sendfile: library.func("int64_t sendfile64(int socket, int file, void *offset, size_t length)"),
    splice: library.func("int64_t splice(int from, void *from_offset, int to, void *to_offset, size_t length, uint32_t flags)"),
    pipe2: library.func("int pipe2(void *descriptors, int flags)"),
    fcntl: library.func("int fcntl(int fd, int command, int argument)"),
    ioctl: library.func("int ioctl(int fd, uint32_t request, void *argument)"),
    setsockopt: library.func("int setsockopt(int socket, int level, int option, void *value, uint32_t length)"),
    errno: () => koffi.errno(),
    view: (address, lengthBytes) => koffi.view(address, lengthBytes),
  };
}

function open(koffi: typeof import("koffi").default): import("koffi").LibraryHandle {
  for (const name of NAMES) {
    try {
      return koffi.load(name);
    } catch {
      // The other C library's name.
    }
  }
  throw new Error(`no C library by the names ${NAMES.join(", ")}`);
}

/** Returns undefined if the library does not have the function. */
function known<Function>(find: () => Function): Function | undefined {
  try {
    return find();
  } catch {
    return undefined;
  }
}
