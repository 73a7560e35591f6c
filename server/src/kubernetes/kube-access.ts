import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { Agent, type RequestOptions } from "node:https";
import { isIPv6 } from "node:net";
import { join } from "node:path";
import { CacheError } from "@frontcache/proto";

/** Access to the Kubernetes API: its address, namespace and credentials. */
export interface KubeAccess {
  /** `https://host:port`, with a path if the API is behind a proxy. */
  readonly server: string;
  /** The pod's own namespace, or that of the kubeconfig's current context. */
  readonly namespace: string;
  /**
   * Adds credentials, an authority and an agent of its own to one request. Files are read each time: Kubernetes replaces tokens
   * hourly.
   */
  authorize(options: RequestOptions): Promise<void>;
}

/** The directory in which Kubernetes mounts a pod's credentials. */
const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

type Environment = Readonly<Record<string, string | undefined>>;

/** Returns whether this process runs in a pod with credentials for the API of its cluster. */
export function inKubernetes(environment: Environment, directory = SERVICE_ACCOUNT): boolean {
  return Boolean(environment.KUBERNETES_SERVICE_HOST) && existsSync(join(directory, "token"));
}

/** Returns access through a kubeconfig file, or without one, through the pod's credentials. Throws INVALID_ARGUMENT. */
export function openKubeAccess(kubeconfig: string | undefined): Promise<KubeAccess> {
  return kubeconfig === undefined ? podAccess(process.env) : kubeconfigAccess(kubeconfig);
}

/**
 * Returns access through a pod's service account: an address in the environment and three files. Throws INVALID_ARGUMENT outside
 * Kubernetes.
 */
export async function podAccess(environment: Environment, directory = SERVICE_ACCOUNT): Promise<KubeAccess> {
  if (!inKubernetes(environment, directory)) {
    const message = "no pod credentials here: run in a pod with a service account, or set --kubeconfig";
    throw new CacheError("INVALID_ARGUMENT", message);
  }
  const { KUBERNETES_SERVICE_HOST: host = "", KUBERNETES_SERVICE_PORT: port = "443" } = environment;
  const read = (name: string): Promise<string> => readFile(join(directory, name), "utf8");
  return {
    server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
    namespace: (await read("namespace").catch(() => "")).trim() || "default",
    async authorize(options) {
      const [token, ca] = await Promise.all([read("token"), read("ca.crt")]);
      options.headers = { ...options.headers, authorization: `Bearer ${token.trim()}` };
      options.agent = new Agent({ ca });
    },
  };
}

/** `@kubernetes/client-node` is loaded only for a kubeconfig. It costs half a second and 50 MB. */
async function kubeconfigAccess(kubeconfig: string): Promise<KubeAccess> {
  const { KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  try {
    config.loadFromFile(kubeconfig);
  } catch (cause) {
    throw new CacheError("INVALID_ARGUMENT", `--kubeconfig ${kubeconfig} cannot be read as a kubeconfig file`, { cause });
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw new CacheError("INVALID_ARGUMENT", `--kubeconfig ${kubeconfig} names no current context with a cluster: set one`);
  }
  return {
    server: cluster.server,
    namespace: config.getContextObject(config.getCurrentContext())?.namespace?.trim() || "default",
    authorize: (options) => config.applyToHTTPSOptions(options),
  };
}
