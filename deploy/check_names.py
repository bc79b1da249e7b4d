# clipbridge
# SPDX-License-Identifier: Apache-2.0
"""What no schema knows: names in the deployment's files that have to agree. check_names.py FOLDER"""

import pathlib
import re
import sys

import yaml

folder = pathlib.Path(sys.argv[1])
complaints = []


def expect(is_right, complaint):
    if not is_right:
        complaints.append(complaint)


def load(path):
    return yaml.safe_load((folder / path).read_text())


settings = set(re.findall(r"^#([A-Z0-9_]+)=", (folder / "example.env").read_text(), re.MULTILINE))
file_settings = set(re.findall(r"^# ([A-Z0-9_]+_FILE)=PATH", (folder / "example.env").read_text(), re.MULTILINE))


def expect_settings(names, where):
    unknown = set(names) - settings - file_settings
    expect(not unknown, f"{where}: no such settings: {sorted(unknown)}")


# Kubernetes
kustomization = load("kubernetes/kustomization.yaml")
files = {path.name for path in (folder / "kubernetes").glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}
expect(set(kustomization["resources"]) == files, f"kustomization.yaml names {kustomization['resources']}, not {files}")
deployment = load("kubernetes/deployment.yaml")["spec"]
labels = deployment["template"]["metadata"]["labels"]
pod = deployment["template"]["spec"]
container = pod["containers"][0]
selectors = {
    "deployment.yaml": deployment["selector"]["matchLabels"],
    "its topology": pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    "service.yaml": load("kubernetes/service.yaml")["spec"]["selector"],
    "poddisruptionbudget.yaml": load("kubernetes/poddisruptionbudget.yaml")["spec"]["selector"]["matchLabels"],
    "networkpolicy.yaml": load("kubernetes/networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"],
}
for name, selector in selectors.items():
    expect(selector.items() <= labels.items(), f"{name} selects {selector}, and pods have {labels}")
environment = {variable["name"]: variable["value"] for variable in container["env"]}
expect_settings(environment, "deployment.yaml")
expect_settings(load("kubernetes/configmap.yaml")["data"], "configmap.yaml")
secrets = {value.rsplit("/", 1)[1] for name, value in environment.items() if name.endswith("_FILE")}
expect(
    secrets == set(load("kubernetes/secret.example.yaml")["stringData"]),
    f"secret.example.yaml and deployment.yaml differ: {secrets}",
)

# Compose
compose = load("docker/compose.yaml")
for name, service in compose["services"].items():
    expect(set(service["secrets"]) <= set(compose["secrets"]), f"compose.yaml: {name} names an unknown secret")
bridge = compose["services"]["clipbridge"]
expect_settings(bridge["environment"], "compose.yaml")
mounted = {value.rsplit("/", 1)[1] for name, value in bridge["environment"].items() if name.endswith("_FILE")}
expect(mounted == set(bridge["secrets"]), f"compose.yaml: files {mounted} and secrets {bridge['secrets']} differ")

# systemd
drop_in = (folder / "systemd/clipbridge.service.d/credentials.conf.example").read_text()
loaded = re.findall(r"^#?LoadCredential=([^:]+):\S+/\1$", drop_in, re.MULTILINE)
named = re.findall(r"^#?Environment=(\w+)=%d/(\S+)$", drop_in, re.MULTILINE)
expect_settings([name for name, _ in named], "credentials.conf.example")
expect(loaded == [credential for _, credential in named], f"credentials {loaded} and files {named} differ")

# Cloudflare Tunnel
*rules, last = load("proxy/cloudflared.yml")["ingress"]
expect(set(last) == {"service"} and last["service"].startswith("http_status:"), "cloudflared.yml: no last rule")
for rule in rules:
    for path in ("/api/clips", "/metrics", "/", "/webhooks/cloudflare-stream/x", "/x/webhooks/cloudflare-stream"):
        expect(not re.search(rule["path"], path), f"cloudflared.yml lets {path} in")
    expect(re.search(rule["path"], "/webhooks/cloudflare-stream"), "cloudflared.yml does not let webhooks in")

sys.exit("\n".join(complaints) or 0)
