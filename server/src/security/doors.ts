import { type Settings, SettingsError } from "../config/settings.js";
import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import { type Certificates, readCertificates } from "./certificates.js";
import { Tokens } from "./tokens.js";
import { WatchedFiles } from "./watched-files.js";

/** How often the files of certificates and tokens are looked at. They are few and small. */
const LOOK_MS = 1_000;

/** What a listener asks whom it lets in by, and a link to another member what it shows there. */
export interface Door {
  /** Undefined: plain text. */
  readonly tls: TlsDoor | undefined;
  /** The tokens of this moment; undefined: none is asked for. */
  readonly tokens: Tokens | undefined;
}

/** Certificates that may be exchanged while connections stand: new ones hold for new connections. */
export interface TlsDoor {
  readonly current: Certificates;
  /** Whether clients have to show a certificate. Never changes. */
  readonly mutual: boolean;
  /** The name in other members' certificates; undefined: the host by which they are reached. */
  readonly serverName: string | undefined;
  onChange(listener: (certificates: Certificates) => void): void;
}

/** Everybody is let in, and everything is in plain text. */
export const openDoor: Door = { tls: undefined, tokens: undefined };

/** A member's door as its settings say, which follows its files until it is closed. */
export class Doors implements Door {
  private constructor(
    readonly tls: TlsDoor | undefined,
    private readonly certificates: WatchedFiles<Certificates> | undefined,
    private readonly tokenFile: WatchedFiles<Tokens> | undefined,
  ) {}

  /** Rejects with a SettingsError where a file can't be read or used. */
  static async open(settings: DoorSettings, clock: Clock, log: Log): Promise<Doors> {
    const { tlsCert, tlsKey, tlsCa, tlsServerName, authTokenFile } = settings;
    const watch = watcher(clock, log);
    let certificates: WatchedFiles<Certificates> | undefined;
    let tls: TlsDoor | undefined;
    if (tlsCert !== undefined && tlsKey !== undefined) {
      const paths = tlsCa === undefined ? [tlsCert, tlsKey] : [tlsCert, tlsKey, tlsCa];
      certificates = await watch("--tls-cert and --tls-key", paths, readCertificates);
      tls = new FollowedCertificates(certificates, tlsCa !== undefined, tlsServerName);
    }
    try {
      const tokens =
        authTokenFile === undefined
          ? undefined
          : await watch("--auth-token-file", [authTokenFile], ([text]) => Tokens.parse(String(text)));
      return new Doors(tls, certificates, tokens);
    } catch (error) {
      await certificates?.close();
      throw error;
    }
  }

  get tokens(): Tokens | undefined {
    return this.tokenFile?.current;
  }

  /** Follows the files no more. */
  async close(): Promise<void> {
    await Promise.all([this.certificates?.close(), this.tokenFile?.close()]);
  }
}

/** What doors are made by. */
export type DoorSettings = Pick<Settings, "tlsCert" | "tlsKey" | "tlsCa" | "tlsServerName" | "authTokenFile">;

/** Opens files of a flag. What is wrong with them in the beginning is a wrong setting, later a line in the log. */
function watcher(clock: Clock, log: Log) {
  return async <Thing>(flag: string, paths: string[], read: (contents: readonly Buffer[]) => Thing) => {
    const onRefused = ({ message }: Error): void => log.warn({ event: "file-refused", flag, paths, message });
    try {
      return await WatchedFiles.open({ paths, read, onRefused, everyMs: LOOK_MS, clock });
    } catch (error) {
      throw new SettingsError([`${flag}: ${paths.join(", ")} can't be used: ${(error as Error).message}`]);
    }
  };
}

class FollowedCertificates implements TlsDoor {
  constructor(
    private readonly files: WatchedFiles<Certificates>,
    readonly mutual: boolean,
    readonly serverName: string | undefined,
  ) {}

  get current(): Certificates {
    return this.files.current;
  }

  onChange(listener: (certificates: Certificates) => void): void {
    this.files.onChange(listener);
  }
}
