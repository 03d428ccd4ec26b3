"""The properties of a resource type or function, read from the installed Python SDK.

It looks up a type token in the source files of `pulumi_<package>` and checks values against the types there, nested
types too, so that a stand-in refuses exactly what the real plugin would refuse. Leaves out rules that the SDK does not
hold (conflicts between properties, allowed values, ranges); handlers and the API check them.

The files are read as text, never imported: importing `pulumi_aws` takes seconds and 200 MB, a slice of one file a
millisecond. It relies on the layout of Pulumi's code generator: `class <Type>Args` (`<Type>InitArgs` where the
name is taken) with `@pulumi.getter(name="wireName")` over each property, nested types in `_inputs.py` beside it, and
`__args__['wireName'] = name` in functions. Tests run every modelled type through it, so a change of layout shows.
"""

import ast
import contextlib
import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from runner_platform_sandbox.providers.validation import Failure, Kind, Property, PropertyType, validate

_CLASS: Final = re.compile(rb"^class (\w+)", re.MULTILINE)
_GETTER: Final = re.compile(
    r'@pulumi\.getter(?:\(name="(?P<wire>\w+)"\))?\n(?:    @[^\n]*\n)*'
    r"    def (?P<name>\w+)\(self\) -> (?P<type>[^\n]+):\n"
)
_ARGUMENT: Final = re.compile(r"__args__\['(?P<wire>\w+)'\] = (?P<name>\w+)")
_SIMPLE: Final = {"str": Kind.STRING, "int": Kind.INTEGER, "float": Kind.NUMBER, "bool": Kind.BOOLEAN}


class UnknownTokenError(LookupError):
    """The installed SDK has no such resource type or function."""


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """The SDK's declaration of one resource type."""

    token: str
    """Such as `aws:iam/role:Role`."""
    inputs: dict[str, Property]
    """By wire name."""
    outputs: frozenset[str]
    """Wire names of all properties after creation, inputs included."""

    @property
    def computed(self) -> frozenset[str]:
        """Wire names of outputs that a program cannot set."""
        return self.outputs - self.inputs.keys()


@dataclass
class _Source:
    """One file of the SDK, with the position of each class."""

    path: Path
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        starts = [(match.group(1).decode(), match.start()) for match in _CLASS.finditer(self.path.read_bytes())]
        ends = [start for _, start in starts[1:]] + [self.path.stat().st_size]
        self.spans = {name: (start, end) for (name, start), end in zip(starts, ends, strict=True)}

    def text(self, name: str) -> str | None:
        """Return the source of class `name`, or None if the file does not declare it."""
        if name not in self.spans:
            return None
        start, end = self.spans[name]
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(end - start).decode()


class Package:
    """The Python SDK of one provider, such as `pulumi_aws`."""

    def __init__(self, name: str) -> None:
        """Find the SDK of provider `name` (`aws`, `kubernetes`, `gitlab`) without importing it."""
        spec = importlib.util.find_spec(f"pulumi_{name}")
        if spec is None or spec.origin is None:
            raise UnknownTokenError(f"the Python package pulumi_{name} is not installed; run `make setup`")
        self.name = name
        self.root = Path(spec.origin).parent
        self._sources: dict[Path, _Source] = {}
        self._objects: dict[tuple[Path, str], dict[str, Property]] = {}
        self._resources: dict[str, ResourceType] = {}

    def resource(self, token: str) -> ResourceType:
        """Return the SDK's declaration of resource type `token`.

        Raises:
            UnknownTokenError: if the SDK has no such type.
        """
        if token not in self._resources:
            path, type_name = self._locate(token)
            source = self._source(path)
            body = source.text(type_name)
            if body is None:
                raise UnknownTokenError(f"the Python SDK pulumi_{self.name} has no resource type {token}")
            arguments = f"{type_name}Args" if f"{type_name}Args" in source.spans else f"{type_name}InitArgs"
            self._resources[token] = ResourceType(
                token=token,
                inputs=self._object(path, arguments),
                outputs=frozenset(match["wire"] or match["name"] for match in _GETTER.finditer(body)),
            )
        return self._resources[token]

    def provider(self) -> dict[str, Property]:
        """Return the configuration properties of the provider itself."""
        return self._object(self.root / "provider.py", "ProviderArgs")

    def function(self, token: str) -> dict[str, Property]:
        """Return the arguments of function `token`, such as `aws:ec2/getSubnets:getSubnets`.

        Raises:
            UnknownTokenError: if the SDK has no such function.
        """
        path, name = self._locate(token)
        text = path.read_text() if path.exists() else ""
        python_name = _snake(name)
        start = text.find(f"\ndef {python_name}(")
        if start < 0:
            raise UnknownTokenError(f"the Python SDK pulumi_{self.name} has no function {token}")
        end = text.find("\ndef ", start + 1)
        tree = ast.parse(text[start : end if end > 0 else None])
        definition = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
        annotations = {argument.arg: argument.annotation for argument in definition.args.args}
        arguments = {}
        for match in _ARGUMENT.finditer(text, start, end if end > 0 else len(text)):
            annotation = annotations.get(match["name"])
            kind = self._type(annotation, path) if annotation else PropertyType(kind=Kind.ANY)
            arguments[match["wire"]] = Property(name=match["wire"], type=kind, required=False)
        return arguments

    def check_resource(self, token: str, inputs: dict[str, Any]) -> tuple[dict[str, Any], list[Failure]]:
        """Check the inputs of a resource with `validation.validate`."""
        return validate(self.resource(token).inputs, inputs)

    def _locate(self, token: str) -> tuple[Path, str]:
        """Return the file that declares `token`, and the name within it."""
        package, _, module_and_name = token.partition(":")
        module, _, name = module_and_name.partition(":")
        if package != self.name or not name:
            raise UnknownTokenError(
                f"{token} is not a type of provider {self.name}; its types look like {self.name}:<module>:<Type>"
            )
        folders = [part.split(".")[0] if "." in part else part for part in module.split("/") if part != "index"]
        generated = self.root.joinpath(*(_snake(part) for part in folders)).with_suffix(".py")
        one_class_a_file = self.root.joinpath(*folders, f"{name}.py")
        return (one_class_a_file if one_class_a_file.exists() else generated), name

    def _source(self, path: Path) -> _Source:
        if path not in self._sources:
            if not path.exists():
                raise UnknownTokenError(
                    f"the Python SDK pulumi_{self.name} has no {path.relative_to(self.root)}: no such type"
                )
            self._sources[path] = _Source(path)
        return self._sources[path]

    def _object(self, path: Path, name: str) -> dict[str, Property]:
        key = (path, name)
        if key not in self._objects:
            self._objects[key] = properties = {}
            body = self._source(path).text(name)
            if body is None:
                raise UnknownTokenError(f"{path.relative_to(self.root)} of pulumi_{self.name} declares no {name}")
            required = _required(body)
            for match in _GETTER.finditer(body):
                annotation = ast.parse(match["type"], mode="eval").body
                wire = match["wire"] or match["name"]
                properties[wire] = Property(
                    name=wire, type=self._type(annotation, path), required=match["name"] in required
                )
        return self._objects[key]

    def _type(self, node: ast.expr, path: Path) -> PropertyType:
        """Translate an annotation of the SDK."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self._nested(node.value, path)
        if isinstance(node, ast.Subscript):
            outer = ast.unparse(node.value).rpartition(".")[2]
            inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if outer in {"Input", "Optional"}:
                return self._type(inner[0], path)
            if outer == "Sequence":
                return PropertyType(kind=Kind.LIST, of=(self._type(inner[0], path),))
            if outer == "Mapping":
                return PropertyType(kind=Kind.MAP, of=(self._type(inner[1], path),))
            if outer == "Union":
                return PropertyType(kind=Kind.UNION, of=tuple(self._type(item, path) for item in inner))
        simple = ast.unparse(node).rpartition(".")[2]
        return PropertyType(kind=_SIMPLE.get(simple, Kind.ANY))

    def _nested(self, name: str, path: Path) -> PropertyType:
        """Resolve a quoted name: a nested type of `_inputs.py`, or an enumeration, which is a string on the wire.

        Types of other modules have a dotted name, such as `_meta.v1.ObjectMetaArgs`.
        """
        *modules, name = name.split(".")
        folder = self.root.joinpath(*(module.removeprefix("_") for module in modules)) if modules else path.parent
        inputs = folder / "_inputs.py"
        if not inputs.exists():
            return PropertyType(kind=Kind.ANY)
        if name.endswith("Args") and self._source(inputs).text(name) is not None:
            return PropertyType(kind=Kind.OBJECT, fields=lambda: self._object(inputs, name))
        # Functions also list the dictionary form of a nested type, which is no separate type.
        if name.endswith("Dict"):
            return PropertyType(kind=Kind.NEVER)
        return PropertyType(kind=Kind.ANY)


def decode_config(config: dict[str, Any], properties: Mapping[str, Property]) -> dict[str, Any]:
    """Return a provider's configuration with nested values decoded; the SDKs send all but strings as JSON text.

    Args:
        config: Values by wire name.
        properties: The SDK's declaration; a property that is declared as a string is not decoded.
    """
    decoded = {}
    for key, value in config.items():
        decoded[key] = value
        if key in properties and properties[key].type.kind is Kind.STRING:
            continue
        if isinstance(value, str) and (value[:1] in ("[", "{") or value in ("true", "false")):
            with contextlib.suppress(ValueError):
                decoded[key] = json.loads(value)
    return decoded


@cache
def package(name: str) -> Package:
    """Return the `Package` of a provider, cached for this process."""
    return Package(name)


def _required(body: str) -> frozenset[str]:
    """Return the constructor arguments of an Args class that have no default."""
    signature = body[body.find("def __init__") : body.find('"""')]
    return frozenset(
        line.strip().partition(":")[0]
        for line in signature.splitlines()
        if ": " in line and "= None" not in line and not line.strip().startswith("def ")
    )


def _snake(name: str) -> str:
    """Return the Python form of a camelCase name, as Pulumi's generator writes it."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
