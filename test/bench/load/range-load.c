// A load generator for HTTP/1.1 GETs on loopback: one thread, epoll, keep-alive connections, one request at a time on each.
// Its receive buffer is larger than that of wrk (8 KiB), which limits wrk to about 2 GB/s for large bodies.
//
// Build: cc -O2 -o range-load range-load.c
// Usage: range-load PORT CONNECTIONS SECONDS REQUESTS LENGTH FIRST SPAN PATH [HEADER]
//   SECONDS   stop to send requests after this time
//   REQUESTS  or after this many requests; 0: no limit
//   LENGTH    bytes of each range; 0: whole objects, without a Range header
//   FIRST     ranges begin at FIRST + n * LENGTH, n random,
//   SPAN      and end before FIRST + SPAN
//   PATH      path of each request; "{n}" is replaced by the number of the request
//   HEADER    a header line that each request carries
// Prints one line of JSON: requests, failures, seconds, bytes, its own CPU seconds, and latencies in microseconds (until the first byte,
// and until the last byte of the body). Any response but 200 or 206 with a Content-Length (and of LENGTH bytes) ends the program.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_BYTES 8192
#define MAX_FAILURES 1000

struct connection {
  int socket;
  int head_bytes;       // bytes of the response head received so far; -1: the body is being received
  long long body_left;  // bytes of the body not yet received
  uint64_t sent_ns;     // when the request was sent
  int has_first_byte;
  char head[HEAD_BYTES + 1];
};

struct latencies {
  uint64_t *ns;
  size_t count, capacity;
};

static char buffer[512 << 10];
static int port;
static long long length, first, span, limit, sent;
static const char *path, *header = "";
static struct latencies first_bytes, last_bytes;
static long long failures, bytes;

static void die(const char *what) {
  fprintf(stderr, "range-load: %s: %s\n", what, errno ? strerror(errno) : "unexpected response");
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000ull + time.tv_nsec;
}

/** xorshift64 with a fixed seed: each run reads the same ranges. */
static uint64_t random_number(void) {
  static uint64_t state = 0x9e3779b97f4a7c15ull;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static void record(struct latencies *latencies, uint64_t ns) {
  if (latencies->count == latencies->capacity) {
    latencies->capacity = latencies->capacity ? 2 * latencies->capacity : 1 << 16;
    latencies->ns = realloc(latencies->ns, latencies->capacity * sizeof *latencies->ns);
    if (!latencies->ns) die("memory");
  }
  latencies->ns[latencies->count++] = ns;
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/** The latency that `share` of the requests did not exceed, microseconds. */
static double percentile(struct latencies *latencies, double share) {
  if (latencies->count == 0) return 0;
  qsort(latencies->ns, latencies->count, sizeof *latencies->ns, compare);
  return latencies->ns[(size_t)((latencies->count - 1) * share)] / 1e3;
}

static void open_connection(int epoll, struct connection *connection) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
  int one = 1;
  connection->socket = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(connection->socket, (struct sockaddr *)&address, sizeof address)) die("connect");
  setsockopt(connection->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection->socket, &event)) die("epoll_ctl");
}

/** Sends the next request. Returns 0 when none is left. */
static int send_request(struct connection *connection) {
  char target[2048], range[128] = "", request[8192];
  if (limit > 0 && sent >= limit) return 0;
  const char *number = strstr(path, "{n}");
  if (number) snprintf(target, sizeof target, "%.*s%lld%s", (int)(number - path), path, sent, number + 3);
  else snprintf(target, sizeof target, "%s", path);
  if (length > 0) {
    long long offset = first + (long long)(random_number() % (uint64_t)(span / length)) * length;
    snprintf(range, sizeof range, "Range: bytes=%lld-%lld\r\n", offset, offset + length - 1);
  }
  int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: bench\r\n%s%s%s\r\n", target, range, header,
                      *header ? "\r\n" : "");
  sent++;
  connection->head_bytes = 0;
  connection->has_first_byte = 0;
  connection->sent_ns = now_ns();
  if (send(connection->socket, request, size, MSG_NOSIGNAL) != size) die("send");
  return 1;
}

/** Adds received bytes to the head. Returns how many of them belong to the head, or -1 if the head is incomplete. */
static ssize_t receive_head(struct connection *connection, ssize_t received) {
  int before = connection->head_bytes;
  ssize_t taken = received < HEAD_BYTES - before ? received : HEAD_BYTES - before;
  memcpy(connection->head + before, buffer, taken);
  connection->head_bytes += taken;
  connection->head[connection->head_bytes] = 0;
  char *end = strstr(connection->head, "\r\n\r\n");
  if (!end) return -1;
  *end = 0;
  int status = atoi(connection->head + 9);
  char *content_length = strcasestr(connection->head, "\r\ncontent-length:");
  if ((status != 200 && status != 206) || !content_length || (length > 0 && atoll(content_length + 17) != length)) {
    fprintf(stderr, "%s\n", connection->head);
    errno = 0;
    die("response");
  }
  connection->body_left = atoll(content_length + 17);
  connection->head_bytes = -1;
  return end + 4 - connection->head - before;
}

int main(int count, char **values) {
  if (count < 9) {
    fprintf(stderr, "usage: range-load PORT CONNECTIONS SECONDS REQUESTS LENGTH FIRST SPAN PATH [HEADER]\n");
    return 2;
  }
  port = atoi(values[1]);
  int connections = atoi(values[2]), active = 0, epoll = epoll_create1(0);
  double seconds = atof(values[3]);
  limit = atoll(values[4]);
  length = atoll(values[5]);
  first = atoll(values[6]);
  span = atoll(values[7]);
  path = values[8];
  if (count > 9) header = values[9];
  struct connection *all = calloc(connections, sizeof *all);
  for (int i = 0; i < connections; i++) open_connection(epoll, &all[i]);
  uint64_t begin = now_ns(), end = begin + (uint64_t)(seconds * 1e9);
  for (int i = 0; i < connections; i++) active += send_request(&all[i]);
  struct epoll_event events[256];
  while (active > 0) {
    int ready = epoll_wait(epoll, events, 256, 30000);
    if (ready == 0) {
      errno = ETIMEDOUT;
      die("30 s without a byte");
    }
    for (int i = 0; i < ready; i++) {
      struct connection *connection = events[i].data.ptr;
      ssize_t received = recv(connection->socket, buffer, sizeof buffer, MSG_DONTWAIT), head = 0;
      if (received < 0 && errno == EAGAIN) continue;
      if (received <= 0) {
        if (++failures > MAX_FAILURES) die("connections closed");
        close(connection->socket);
        open_connection(epoll, connection);
        active -= !send_request(connection);
        continue;
      }
      if (!connection->has_first_byte) {
        connection->has_first_byte = 1;
        record(&first_bytes, now_ns() - connection->sent_ns);
      }
      if (connection->head_bytes >= 0 && (head = receive_head(connection, received)) < 0) continue;
      connection->body_left -= received - head;
      bytes += received - head;
      if (connection->body_left > 0) continue;
      uint64_t now = now_ns();
      record(&last_bytes, now - connection->sent_ns);
      if (now >= end || !send_request(connection)) active--;
    }
  }
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  double cpu = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
  printf("{\"requests\":%zu,\"failures\":%lld,\"seconds\":%.6f,\"bytes\":%lld,\"cpuSeconds\":%.6f,\"p50Us\":%.1f,\"p99Us\":%.1f,\"firstByteP50Us\":%.1f}\n",
         last_bytes.count, failures, (now_ns() - begin) / 1e9, bytes, cpu, percentile(&last_bytes, 0.5), percentile(&last_bytes, 0.99),
         percentile(&first_bytes, 0.5));
  return 0;
}
