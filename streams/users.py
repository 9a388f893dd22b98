"""Users and grants put onto the brokers by an administrator: each may be done again, and changes nothing then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError

from security.settings import ROLES
from streams.clients import admin
from streams.grants import grants, user_of
from streams.settings import Settings

SCRAM_ITERATIONS = 8192
"""Twice the least that RFC 7677 and Kafka take: it is paid at each connection. The passwords are 256 random bits."""


def apply_users(settings: Settings, passwords: Mapping[str, str]) -> int:
    """Give each role's user its password. Raises KafkaError."""
    with admin(settings) as client:
        refused = client.alter_user_scram_credentials(
            [
                UserScramCredentialUpsertion(
                    user_of(role, settings), ScramMechanism.SCRAM_SHA_512, password, iterations=SCRAM_ITERATIONS
                )
                for role, password in passwords.items()
            ]
        )
    for user, error in refused.items():
        if error is not None:
            raise KafkaError(f"the user {user} was not made: {error}")
    return len(passwords)


def wanted_acls(settings: Settings) -> set[ACL]:
    """The ACLs of the grants."""
    return {
        _acl(settings, grant.role, ResourceType[grant.resource], grant.name, operation)
        for grant in grants(settings)
        for operation in grant.operations
    }


def apply_acls(settings: Settings) -> tuple[list[str], list[str]]:
    """Make the ACLs that are missing, and take away those of our users on this deployment's topics and groups that
    nothing grants (any more). Returns both, in words. Raises KafkaError."""
    wanted = wanted_acls(settings)
    ours = {f"User:{user_of(role, settings)}" for role in ROLES}
    with admin(settings) as client:
        there = {acl for acl in _acls(client) if acl.principal in ours and _of_deployment(acl, settings)}
        missing, extra = wanted - there, there - wanted
        if missing:
            failed = client.create_acls(list(missing))["failed"]
            if failed:
                raise failed[0](f"{len(failed)} ACLs were not made")
        if extra:
            for _, _, error in client.delete_acls(list(extra)):
                if error.errno:
                    raise error("an ACL was not taken away")
    return in_words(missing), in_words(extra)


def in_words(acls: Iterable[ACL]) -> list[str]:
    """ACLs as lines."""
    return sorted(
        f"{acl.principal.removeprefix('User:')} {acl.operation.name} {acl.resource_pattern.resource_type.name.lower()} "
        f"{acl.resource_pattern.resource_name}"
        for acl in acls
    )


def _acl(settings: Settings, role: str, resource: ResourceType, name: str, operation: str) -> ACL:
    return ACL(
        f"User:{user_of(role, settings)}",
        "*",
        ACLOperation[operation],
        ACLPermissionType.ALLOW,
        ResourcePattern(resource, name, ACLResourcePatternType.LITERAL),
    )


def _acls(client: KafkaAdminClient) -> list[ACL]:
    everything = ACLFilter(
        None,
        None,
        ACLOperation.ANY,
        ACLPermissionType.ANY,
        ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY),
    )
    found, _ = client.describe_acls(everything)
    return list(found)


def _of_deployment(acl: ACL, settings: Settings) -> bool:
    """Whether an ACL is about what this deployment names: another's, with another prefix, is left alone."""
    name = acl.resource_pattern.resource_name
    return bool(name.startswith(settings.topic_prefix)) and name != "*"
