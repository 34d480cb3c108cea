"""Query sets that are compiled once, for the statements that every run needs.

Django compiles a query set each time that it is used, which takes ten times as long as SQLite needs to answer it.
"""

import copy
import datetime
import functools
import uuid
from collections.abc import Callable
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Expression, Model, QuerySet
from django.db.models.query import ModelIterable

M = TypeVar("M", bound=Model)


class Parameter(Expression):
    """A value of a prepared query set, to be given at each call."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


class _Compiled(NamedTuple):
    compiler: Any
    sql: str
    parameters: tuple[Any, ...]
    converters: Any


class Prepared(Generic[M]):
    """A query set with `Parameter`s in the place of values.

        ENABLED = Prepared(lambda: Agent.objects.filter(name=Parameter("name"), enabled=True))
        ENABLED.all(name="helper")

    Use it with `filter`, `exclude`, `annotate`, `select_related`, `select_for_update`, an order and a slice. Rows that
    it would prefetch are not.
    """

    def __init__(self, build: Callable[[], QuerySet[M]]) -> None:
        self._build = build
        self._compiled: _Compiled | None = None

    def all(self, **values: Any) -> list[M]:
        """Return the rows.

        Raises:
            KeyError: a parameter has no value.
        """
        compiled = self._compiled or self._compile()
        parameters = [parameter_value(values[p.name]) if type(p) is Parameter else p for p in compiled.parameters]
        compiler = copy.copy(compiled.compiler)
        compiler.connection = connection  # each thread has its own
        compiler.as_sql = lambda: (compiled.sql, parameters)
        compiler.get_converters = lambda _: compiled.converters
        return list(ModelIterable(cast(Any, _QuerySet(compiler))))

    def first(self, **values: Any) -> M | None:
        """Return the first of the rows; make it a query set of one row."""
        return next(iter(self.all(**values)), None)

    def _compile(self) -> _Compiled:
        compiler = self._build().query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        columns = [column for column, *_ in compiler.select[: compiler.col_count]]
        self._compiled = _Compiled(compiler, sql, tuple(parameters), compiler.get_converters(columns))
        return self._compiled


class _Query(NamedTuple):
    """What Django needs of a query to execute it."""

    compiler: Any

    def get_compiler(self, **_: Any) -> Any:
        return self.compiler


class _QuerySet:
    """What Django needs of a query set to make objects of rows."""

    db = DEFAULT_DB_ALIAS
    _known_related_objects: ClassVar[dict[Any, Any]] = {}

    def __init__(self, compiler: Any) -> None:
        self.query = _Query(compiler)


def insert(row: Model, *, ignore_conflicts: bool = False) -> bool:
    """Insert a row whose key is set, as `save(force_insert=True)` does, but without signals.

    Return whether it was inserted; False only if conflicts are ignored.
    """
    sql, fields = _insertion(type(row))
    values = [field.get_db_prep_save(field.pre_save(row, add=True), connection=connection) for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} ON CONFLICT DO NOTHING" if ignore_conflicts else sql, values)
        inserted = cursor.rowcount == 1
    row._state.adding, row._state.db = not inserted, connection.alias
    return inserted


@functools.cache
def _insertion(model: type[Model]) -> tuple[str, list[Any]]:
    fields = list(model._meta.local_concrete_fields)
    columns = ", ".join(f'"{field.column}"' for field in fields)
    places = ", ".join(["%s"] * len(fields))
    return f'INSERT INTO "{model._meta.db_table}" ({columns}) VALUES ({places})', fields


def parameter_value(value: Any) -> Any:
    """Return a value as a parameter of SQL by hand: as the ORM writes it."""
    if isinstance(value, uuid.UUID):
        return value if connection.features.has_native_uuid_field else value.hex
    if isinstance(value, datetime.datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return value
