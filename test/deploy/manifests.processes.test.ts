import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import {
  DEFAULT_S3_LISTEN,
  declarations,
  parseIdentities,
  readSettings,
  unknownVariables,
  variableOf,
} from "@frontcache/server/testing";
import { beforeAll, describe, expect, it } from "vitest";
import { type Container, cannotRender, deployFolder, Rendered } from "./render.js";

const folders = [
  "base",
  "overlays/demo",
  "overlays/daemonset",
  "overlays/aws",
  "overlays/gcp",
  "overlays/observability",
  "overlays/tls",
  "overlays/identities",
];

const defaults = readSettings({}, {});
const podFields = { "metadata.name": "frontcache-0", "status.podIP": "10.0.0.1", "spec.nodeName": "node-a" };

/** The default label of `--label`. */
const memberLabels = Object.fromEntries([defaults.label.split("=") as [string, string]]);

const ports = { grpc: defaults.listen.tcp?.port, http: defaults.httpListen.tcp?.port, s3: DEFAULT_S3_LISTEN.port };

describe.skipIf(cannotRender !== undefined)(`manifests${cannotRender === undefined ? "" : ` (skipped: ${cannotRender})`}`, () => {
  describe.each(folders)("of deploy/%s", (folder) => {
    let rendered: Rendered;

    beforeAll(() => {
      rendered = new Rendered(folder);
    });

    it("label the pods as members look for them, and select them by this label", () => {
      const { spec } = rendered.members;
      expect(spec.template.metadata.labels).toEqual(memberLabels);
      expect(spec.selector.matchLabels).toEqual(memberLabels);
      for (const service of rendered.all("Service").filter((each) => each.metadata.name.startsWith("frontcache"))) {
        expect(service.spec.selector).toEqual(memberLabels);
      }
      for (const budget of rendered.all("PodDisruptionBudget")) expect(budget.spec.selector.matchLabels).toEqual(memberLabels);
      for (const { labelSelector } of spec.template.spec.topologySpreadConstraints ?? []) {
        expect(labelSelector.matchLabels).toEqual(memberLabels);
      }
    });

    it("use the members' label for no other pod", () => {
      for (const other of [...rendered.all("Deployment"), ...rendered.all("Job")]) {
        expect(other.spec.template.metadata.labels).not.toMatchObject(memberLabels);
      }
    });

    it("open the ports that members listen on, and reference them by name", () => {
      const opened = Object.fromEntries((rendered.container.ports ?? []).map(({ name, containerPort }) => [name, containerPort]));
      expect(opened).toEqual(ports);
      for (const service of rendered.all("Service").filter((each) => each.metadata.name.startsWith("frontcache"))) {
        const reached = Object.fromEntries(service.spec.ports.map(({ port, targetPort }) => [targetPort, port]));
        expect(reached).toEqual(ports);
      }
      const [clients] = rendered.one("NetworkPolicy").spec.ingress;
      expect(clients?.ports.map(({ port }) => port)).toEqual(["grpc", "http", "s3"]);
      expect(rendered.one("NetworkPolicy").spec.podSelector.matchLabels).toEqual(memberLabels);
    });

    it("configure startup, readiness and liveness probes on a port that answers Kubernetes", () => {
      const { startupProbe, readinessProbe, livenessProbe } = rendered.container;
      const byTls = readSettings({}, rendered.environment(podFields)).tlsCert !== undefined;
      for (const probe of [startupProbe, readinessProbe, livenessProbe]) {
        // Kubernetes sends gRPC probes in plain text only.
        if (byTls)
          expect(probe?.httpGet).toMatchObject({
            port: "http",
            scheme: "HTTPS",
            path: expect.stringMatching(/^\/(livez|readyz)$/),
          });
        else expect(probe?.grpc?.port).toBe(ports.grpc);
      }
      // Recovering volumes may take minutes; a member that hangs later must be detected sooner.
      expect(startupProbe!.periodSeconds * startupProbe!.failureThreshold).toBeGreaterThanOrEqual(300);
      expect(livenessProbe!.periodSeconds * livenessProbe!.failureThreshold).toBeLessThanOrEqual(60);
    });

    it("allow a member only to get, list and watch pods of its namespace", () => {
      expect(rendered.one("Role", "frontcache").rules).toEqual([
        { apiGroups: [""], resources: ["pods"], verbs: ["get", "list", "watch"] },
      ]);
      // With identities, members may also ask the API server about tokens.
      const clusterWide = rendered.all("ClusterRole").concat(rendered.all("ClusterRoleBinding"));
      const roles = clusterWide.map(({ roleRef }) => roleRef?.name);
      expect(roles).toEqual(folder === "overlays/identities" ? ["system:auth-delegator"] : []);
      const binding = rendered.one("RoleBinding", "frontcache");
      expect(binding.roleRef).toMatchObject({ kind: "Role", name: "frontcache" });
      const account = rendered.one("ServiceAccount", "frontcache").metadata;
      expect(binding.subjects).toMatchObject([{ kind: "ServiceAccount", name: account.name }]);
      expect(rendered.members.spec.template.spec).toMatchObject({
        serviceAccountName: account.name,
        automountServiceAccountToken: true,
      });
    });

    it("set only known settings, to valid values", () => {
      const environment = rendered.environment(podFields);
      expect(unknownVariables(environment)).toEqual([]);
      const settings = readSettings({}, environment);
      expect(settings).toMatchObject({ discovery: "kubernetes", advertise: podFields["status.podIP"], label: defaults.label });
      expect(settings.name).toBe(settings.identity === "node" ? podFields["spec.nodeName"] : podFields["metadata.name"]);
      expect(rendered.members.spec.template.spec.enableServiceLinks).toBe(false);
    });

    it("mount a volume at the cache directory, and a writable one for temporary files", () => {
      const { volumeMounts } = rendered.container;
      const { cacheDirs } = readSettings({}, rendered.environment(podFields));
      const mounted = volumeMounts.map(({ mountPath }) => mountPath);
      expect(mounted).toEqual(expect.arrayContaining([...cacheDirs.map(({ path }) => path), "/tmp"]));
      const { template, volumeClaimTemplates = [] } = rendered.members.spec;
      const volumes = [...(template.spec.volumes ?? []), ...volumeClaimTemplates.map(({ metadata }) => metadata)];
      const names = volumes.map(({ name }) => name).toSorted();
      expect(volumeMounts.map(({ name }) => name).toSorted()).toEqual(names);
    });

    it("run every container without privileges and with a memory limit", () => {
      const templates = ["StatefulSet", "DaemonSet", "Deployment", "Job"].flatMap((kind) => rendered.all(kind));
      for (const { spec } of templates) {
        const { containers, securityContext } = spec.template.spec;
        expect(securityContext).toMatchObject({
          runAsNonRoot: true,
          runAsUser: 1000,
          seccompProfile: { type: "RuntimeDefault" },
        });
        for (const container of containers) expectUnprivileged(container);
      }
    });

    it("use one image for every container that runs frontcache", () => {
      const { containers, initContainers = [] } = rendered.members.spec.template.spec;
      const images = new Set([...containers, ...initContainers].map(({ image }) => image));
      expect(images.size).toBe(1);
      expect([...images][0]).toMatch(/(^|\/)frontcache:0\.1\.0$/);
      expect(rendered.container.args).toEqual(["serve"]);
    });
  });

  it("base: members have stable names, start together and keep their volumes", () => {
    const rendered = new Rendered("base");
    const { serviceName, podManagementPolicy, volumeClaimTemplates } = rendered.one("StatefulSet").spec;
    expect(rendered.one("Service", serviceName).spec.clusterIP).toBe("None");
    expect(rendered.one("Service", "frontcache").spec.clusterIP).toBeUndefined();
    expect(podManagementPolicy).toBe("Parallel");
    expect(volumeClaimTemplates?.length).toBe(1);
    expect(rendered.manifests.filter((manifest) => manifest.metadata.namespace !== undefined)).toEqual([]);
    expect(rendered.one("RoleBinding").subjects?.[0]?.namespace).toBeUndefined();
  });

  it("demo: everything is in its namespace, and its S3 server is the origin", () => {
    const rendered = new Rendered("overlays/demo");
    const namespace = rendered.one("Namespace").metadata.name;
    for (const manifest of rendered.manifests.filter(({ kind }) => kind !== "Namespace")) {
      expect(manifest.metadata.namespace).toBe(namespace);
    }
    const origin = rendered.one("Service", "origin");
    const environment = rendered.environment(podFields);
    expect(environment.AWS_ENDPOINT_URL_S3).toBe(`http://origin:${origin.spec.ports[0]?.port}`);
    const secrets = rendered.container.envFrom?.flatMap(({ secretRef }) => (secretRef === undefined ? [] : [secretRef.name]));
    expect(secrets).toEqual([rendered.one("Secret").metadata.name]);
  });

  it("daemonset: members are named after their nodes, use their disks and serve clients on the same host", () => {
    const rendered = new Rendered("overlays/daemonset");
    const environment = rendered.environment(podFields);
    expect(environment[variableOf(declarations.identity)]).toBe("node");
    expect(readSettings({}, environment).cacheDirs[0]?.limitBytes).toBeGreaterThan(0);
    expect(rendered.one("Service", "frontcache-local").spec.internalTrafficPolicy).toBe("Local");
    expect(rendered.all("PodDisruptionBudget")).toEqual([]);
    const base = new Rendered("base").container;
    const name = { name: "FRONTCACHE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } };
    const { envFrom, ...own } = rendered.container;
    const { envFrom: _, ...theirs } = base;
    expect(own).toEqual({ ...theirs, env: [...base.env!, name] });
  });

  it("tls: members have the certificate that cert-manager issues for the server name that they verify", () => {
    const rendered = new Rendered("overlays/tls");
    const settings = readSettings({}, rendered.environment(podFields));
    const certificate = rendered.one("Certificate", "frontcache").spec;
    expect(certificate.usages).toEqual(["server auth", "client auth"]);
    expect(certificate.dnsNames).toContain(settings.tlsServerName);
    const [mount] = rendered.container.volumeMounts.filter(({ name }) => name === "tls");
    const volume = rendered.members.spec.template.spec.volumes?.find(({ name }) => name === "tls");
    expect(volume?.secret).toMatchObject({ secretName: certificate.secretName, defaultMode: 0o440 });
    const files = { tlsCert: "tls.crt", tlsKey: "tls.key", tlsCa: "ca.crt" };
    const paths = Object.entries(files).map(([setting, file]) => [setting, `${mount!.mountPath}/${file}`]);
    expect(settings).toMatchObject(Object.fromEntries(paths));
    expect(rendered.one("Certificate", "frontcache-client").spec.usages).toEqual(["client auth"]);
  });

  it("identities: members have a valid file of identities and a key, and may review tokens", () => {
    const rendered = new Rendered("overlays/identities");
    const { identitiesFile = "", membersKeyFile = "" } = readSettings({}, rendered.environment(podFields));
    const { volumes = [] } = rendered.members.spec.template.spec;
    const secretAt = (path: string): string | undefined => {
      const mount = rendered.container.volumeMounts.find(({ mountPath }) => path.startsWith(`${mountPath}/`));
      return volumes.find(({ name }) => name === mount?.name)?.secret?.secretName;
    };
    const secret = rendered.one("Secret", secretAt(identitiesFile));
    const text = Buffer.from(secret.data![basename(identitiesFile)]!, "base64").toString();
    expect(parseIdentities(text).issuers.kubernetes).toEqual({ audiences: ["frontcache"] });
    expect(secretAt(membersKeyFile)).toBe("frontcache-members");
    const account = rendered.one("ServiceAccount", "frontcache").metadata;
    expect(rendered.one("ClusterRoleBinding").subjects).toEqual([
      { kind: "ServiceAccount", name: account.name, namespace: account.namespace },
    ]);
  });

  it.each([
    ["aws", "eks.amazonaws.com/role-arn"],
    ["gcp", "iam.gke.io/gcp-service-account"],
  ])("%s: the service account is bound to an account of the cloud", (overlay, annotation) => {
    const account = new Rendered(`overlays/${overlay}`).one("ServiceAccount");
    expect(account.metadata.annotations?.[annotation]).toBeDefined();
  });
});

describe("the image", () => {
  const dockerfile = readFileSync(join(deployFolder, "Dockerfile"), "utf8");
  const root = join(deployFolder, "..");

  it("starts the command that the server's package declares", () => {
    const { bin } = JSON.parse(readFileSync(join(root, "server", "package.json"), "utf8")) as { bin: { frontcache: string } };
    expect(dockerfile).toContain(`ENTRYPOINT ["node", "/app/server/${bin.frontcache}"]`);
    expect(existsSync(join(root, "server", bin.frontcache))).toBe(true);
  });

  it("is built from all workspaces of the repository, and the build context contains each of them", () => {
    const { workspaces } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { workspaces: string[] };
    const ignored = readFileSync(join(root, ".dockerignore"), "utf8").split("\n");
    for (const workspace of workspaces) {
      expect(dockerfile).toContain(`COPY ${workspace}/package.json ${workspace}/`);
      expect(dockerfile).toContain(`COPY ${workspace} ${workspace}\n`);
      expect(ignored).toContain(`!${workspace}`);
    }
  });

  it("exposes the ports of the members and does not run as root", () => {
    expect(dockerfile).toContain(`EXPOSE ${ports.grpc} ${ports.http} ${ports.s3}\n`);
    expect(dockerfile).toContain("USER 1000:1000\n");
  });
});

function expectUnprivileged({ resources, securityContext }: Container): void {
  expect(securityContext).toMatchObject({
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  });
  expect(resources.requests).toMatchObject({ cpu: expect.any(String), memory: expect.any(String) });
  expect(resources.limits).toMatchObject({ memory: expect.any(String) });
}
