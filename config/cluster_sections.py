"""The objects of a stack file that say where the cluster is, and how it is reached: one pydantic model each."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from config.errors import ClassifiedError
from config.model import Cidr, RoleArn, Section, pattern, refuse_own_roles

FEWEST_ADMINISTRATORS = 2


class ExistingNetwork(Section):
    """Subnets that somebody else owns; verified, never changed."""

    vpc: Annotated[str, pattern(r"vpc-[0-9a-f]+", "is not a VPC id; write vpc-…")]
    private: tuple[Annotated[str, pattern(r"subnet-[0-9a-f]+", "is not a subnet id; write subnet-…")], ...] = Field(
        min_length=2, max_length=3, strict=False
    )


class Network(Section):
    """The platform's network: one of its own, or existing subnets."""

    cidr: Cidr | None = None
    zones: Literal[2, 3] | None = None
    nat: Literal["single", "per-zone"] | None = None
    existing: ExistingNetwork | None = None
    endpoint_cidrs: tuple[Cidr, ...] = Field(default=(), strict=False)
    """Subnets with interface endpoints, which jobs may reach at port 443 although the rest of the VPC is closed to them."""

    @model_validator(mode="after")
    def _own_or_existing(self) -> Self:
        own = (self.cidr, self.zones, self.nat)
        if self.existing is not None and any(part is not None for part in own):
            raise ClassifiedError(
                "has both a network of its own and an existing one; keep {cidr, zones, nat} or {existing}"
            )
        if self.existing is None and None in own:
            raise ClassifiedError(
                "is incomplete; write {cidr: …, zones: 2 or 3, nat: single or per-zone} or {existing: {vpc: …, private: […]}}"
            )
        return self


class PrivateAccess(Section):
    """The API endpoint is reachable only from inside the network."""

    reached_from: Literal["vpn", "peering", "transit-gateway", "runner"]
    """How the deployer gets in; a statement of the operator, shown in exports."""


class ClusterAccess(Section):
    """The way into the cluster's API."""

    public_cidrs: tuple[Cidr, ...] | None = Field(default=None, strict=False)
    private: PrivateAccess | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (not self.public_cidrs) == (self.private is None):
            raise ClassifiedError(
                "needs one way into the cluster's API, else nothing could create the first Kubernetes resource: "
                "{public_cidrs: [203.0.113.0/24]} or {private: {reached_from: vpn}}"
            )
        return self


class Cluster(Section):
    """The EKS cluster."""

    version: Annotated[
        str, pattern(r"1\.\d{2}", 'is not a Kubernetes minor version; write it in quotes, such as "1.35"')
    ]
    administrators: tuple[RoleArn, ...] = Field(strict=False)
    access: ClusterAccess
    service_cidr: Cidr = "172.20.0.0/16"

    @model_validator(mode="after")
    def _two_administrators(self) -> Self:
        refuse_own_roles(self.administrators)
        if len(set(self.administrators)) < FEWEST_ADMINISTRATORS:
            raise ClassifiedError(
                f"names {len(set(self.administrators))} administrator(s); name at least two different roles, so that losing one locks nobody out"
            )
        return self
