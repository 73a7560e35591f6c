// What to try while the demo runs.

/** Shell commands that read an object through a member: arguments of `npx frontcache`, and a whole line with curl. */
export function commandsFor({ grpc, http }, url) {
  return {
    frontcache: [
      ["stat", url, "--endpoint", grpc],
      ["get", url, "--range", "0-99", "--endpoint", grpc],
      ["status", "--endpoint", grpc],
    ],
    curl: ["-r", "0-99", `http://${http}/s3/${url.slice(5)}`],
    statusPage: `http://${http}/`,
  };
}

/** The same as text for a terminal. */
export function textFor(member, origin, url) {
  const { frontcache, curl, statusPage } = commandsFor(member, url);
  const lines = [...frontcache.map((words) => `npx frontcache ${words.join(" ")}`), `curl ${curl.join(" ")}`];
  const shown = lines.map((line) => (line.includes("0-99") ? `${line} | xxd` : line));
  return `
The member listens on ${member.grpc} (gRPC) and ${member.http} (HTTP), the S3 server on ${origin.endpoint}.
Status page: ${statusPage}
Commands for another terminal:

${shown.map((line) => `  ${line}`).join("\n")}

Press Ctrl-C to stop both.`;
}
