"""The container image: built, looked into, started as a cluster would start it."""

import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
USER = 10001
BOUND = 60


def run(*command, **more):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **more)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


class Image:
    """Built by buildah, from scratch, without any daemon. What it stores goes with the tests."""

    def __init__(self, store):
        environment = os.environ | {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}
        places = ("--root", store / "root", "--runroot", store / "run")
        self.buildah = lambda *arguments: run("buildah", *places, *arguments, env=environment, timeout=300)
        self.command = lambda *arguments: (["buildah", *map(str, places), *map(str, arguments)], environment)
        self.commit = run("git", "rev-parse", "HEAD", cwd=ROOT)
        self.version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]
        self.buildah(
            "build", "--build-arg", "BINARY=given", "--build-arg", f"COMMIT={self.commit}", "--tag", "tidemark", ROOT,
        )
        self.settings = json.loads(self.buildah("inspect", "--type", "image", "tidemark"))["OCIv1"]["config"]
        self.container = self.buildah("from", "tidemark")
        self.files = pathlib.Path(self.buildah("mount", self.container))

    def remove(self):
        self.buildah("umount", self.container)
        self.buildah("rm", self.container)
        self.buildah("rmi", "--all", "--force")


@pytest.fixture(scope="session")
def image():
    lay_out(ROOT / "target" / "image", compiled())
    # Not below pytest's own directory: what it keeps for later would be whole images.
    with tempfile.TemporaryDirectory(prefix="tidemark-image-") as store:
        built = Image(pathlib.Path(store))
        yield built
        built.remove()


def compiled():
    """Compiles what the Dockerfile copies, and nothing else, as its first stage would."""
    source = ROOT / "target" / "image-source"
    shutil.rmtree(source, ignore_errors=True)
    stage = DOCKERFILE.split(" AS built")[1].split("\nFROM ")[0]
    for what, where in re.findall(r"^COPY (.+) (\S+)$", stage, re.M):
        for each in map(ROOT.joinpath, what.split()):
            (source / where).mkdir(parents=True, exist_ok=True)
            if each.is_dir():
                shutil.copytree(each, source / where, dirs_exist_ok=True)
            else:
                shutil.copy2(each, source / where)
    target = f"{platform.machine()}-unknown-linux-musl"
    environment = os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target"), f"CC_{target.replace('-', '_')}": "musl-gcc"}
    run("cargo", "build", "--locked", "--bin", "tidemark", "--target", target, cwd=source, env=environment, timeout=1500)
    return ROOT / "target" / target / "debug" / "tidemark"


def lay_out(given, program):
    shutil.rmtree(given, ignore_errors=True)
    for directory in ("files/etc/ssl/certs", "files/etc/tidemark", "files/var/lib", "state"):
        (given / directory).mkdir(parents=True)
    run("strip", "-o", given / "files" / "tidemark", program)
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", given / "files" / "etc" / "ssl" / "certs")


def test_a_linter_finds_nothing_in_the_dockerfile():
    run(ROOT / "target" / "operate" / "bin" / "hadolint", ROOT / "Dockerfile")


def test_the_first_stage_makes_what_the_test_gives():
    made = set(re.findall(r"/out/([\w/]+\w)", DOCKERFILE.split(" AS given")[0]))

    assert {"files/etc/ssl/certs", "files/etc/tidemark", "files/var/lib", "state", "files/tidemark"} == made


def test_the_label_of_the_version_is_that_of_the_program():
    version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]

    assert re.findall(r"^ARG VERSION=(.*)$", DOCKERFILE, re.M) == [version]
    assert 'image.version="${VERSION}"' in DOCKERFILE and 'image.revision="${COMMIT}"' in DOCKERFILE


def test_there_are_several_stages_and_the_last_is_empty_but_for_what_it_needs():
    stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", DOCKERFILE, re.M)

    assert [name for _, name in stages] == ["built", "given", "binary", ""]
    assert stages[-1][0] == "scratch"
    last = DOCKERFILE.rsplit("\nFROM scratch\n", 1)[1]
    assert not re.search(r"^(RUN|ADD|VOLUME)\b", last, re.M), "nothing is run in it, and nothing fetched"
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", last, re.M)


def test_it_says_what_it_is_and_who_it_runs_as(image):
    labels = image.settings["Labels"]

    assert image.settings["User"] == f"{USER}:{USER}"
    assert image.settings["Entrypoint"] == ["/tidemark"] and image.settings["Cmd"] == ["serve"]
    assert labels["org.opencontainers.image.version"] == image.version
    assert labels["org.opencontainers.image.revision"] == image.commit
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_there_is_one_static_program_and_nothing_to_use_it_against(image):
    files = {str(file.relative_to(image.files)) for file in image.files.rglob("*") if file.is_file()}

    assert files == {"LICENSE", "NOTICE", "etc/ssl/certs/ca-certificates.crt", "tidemark"}
    assert "INTERP" not in run("readelf", "--program-headers", "--wide", image.files / "tidemark")


def test_its_user_can_write_to_the_state_and_nowhere_else(image):
    writable = []
    for place in [image.files, *image.files.rglob("*")]:
        what = place.lstat()
        others = what.st_mode & (stat.S_IWOTH if what.st_uid != USER else stat.S_IWUSR | stat.S_IWOTH)
        if others:
            writable.append(str(place.relative_to(image.files)))

    assert writable == ["var/lib/tidemark"]


def test_it_starts_as_that_user_becomes_ready_and_stops_when_told(image, tmp_path):
    config, claim = tmp_path / "config", tmp_path / "claim"
    config.mkdir()
    claim.mkdir()
    (config / "tidemark.yaml").write_text("{}\n")
    for above in (tmp_path, *list(tmp_path.parents)[:2]):
        above.chmod(0o755)
    os.chown(claim, USER, USER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command, environment = image.command(
        "run", "--isolation", "chroot", "--user", f"{USER}:{USER}",
        "--volume", f"{config}:/etc/tidemark:ro", "--volume", f"{claim}:/var/lib/tidemark",
        "--env", f"TIDEMARK__SERVER__LISTEN=127.0.0.1:{port}", image.container, "--", "/tidemark", "serve",
    )

    before = written(image.files)
    started = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: ask(port, "/readyz") == 200, started)
        [program] = programs(port)
        owner = re.search(r"^Uid:\s+(\d+)\s+(\d+)", pathlib.Path(f"/proc/{program}/status").read_text(), re.M)
        assert set(owner.groups()) == {str(USER)}
        # Its memory is never dumped: the system gives what tells of such a process to root.
        limits = pathlib.Path(f"/proc/{program}/limits").read_text()
        assert re.search(r"^Max core file size +0 +0 ", limits, re.M)
        assert pathlib.Path(f"/proc/{program}/environ").stat().st_uid == 0
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
        assert f'version="{image.version}"' in metrics and "process_open_fds" in metrics
        assert (claim / "state").stat().st_mode & 0o777 == 0o700
        os.kill(program, signal.SIGTERM)
        assert started.wait(BOUND) == 0
        assert written(image.files) == before, "its root may be read-only: it writes to the claim alone"
    finally:
        # Ours alone, should it still be there.
        for program in programs(port):
            os.kill(program, signal.SIGKILL)
        started.kill()
        started.wait(BOUND)


def written(files):
    """What is in the files of the image, and when each was written; what whoever starts it mounts or makes is not of it."""
    mounted = ("etc/tidemark", "var/lib/tidemark", "proc", "sys", "dev", "run", "etc/hostname", "etc/hosts", "etc/resolv.conf")
    names = {str(file.relative_to(files)): file for file in files.rglob("*") if file.is_file()}
    return {name: file.stat().st_mtime_ns for name, file in names.items() if not name.startswith(mounted)}


def programs(port):
    """The process of ours that was told to listen at this port."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables = (process / "environ").read_bytes()
            is_ours = (process / "comm").read_text().strip() == "tidemark"
            if is_ours and f"TIDEMARK__SERVER__LISTEN=127.0.0.1:{port}".encode() in variables:
                found.append(int(process.name))
    return found


def ask(port, path):
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2).status
    return None


def until(holds, process):
    end = time.monotonic() + BOUND
    while not holds():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "never came"
        time.sleep(0.05)
