"""Serves the tables that a test sends, with pysqlbridge's own listener, SQL and TDS.

One JSON value a line comes in, one goes out for each: first the settings, answered with the port;
then any number of sets of tables, each of which replaces the one before it at once and for every
connection. When the input ends, the process ends, so a test that is killed leaves none behind.
"""

import datetime
import json
import re
import sys
import threading

from pysqlbridge.catalog import Catalog
from pysqlbridge.certificate import Certificate
from pysqlbridge.logins import Login, LoginStore
from pysqlbridge.procedures import CATALOG
from pysqlbridge.server import BridgeServer
from pysqlbridge.source import Table
from pysqlbridge.tds.result import (
    Binary,
    Bit,
    Column,
    DateTime,
    Float,
    Integer,
    NVarChar,
    QueryError,
    UniqueIdentifier,
    VarBinary,
)

SELECT_DENIED = 229


class NVarCharMax(NVarChar):
    """The MAX form under a name of its own.

    The peer's catalogue views multiply the size of a column of class NVarChar, which the MAX form
    does not have, and fail for every table.
    """


PLAIN = {
    "bit": Bit(),
    "tinyint": Integer(1),
    "smallint": Integer(2),
    "int": Integer(4),
    "bigint": Integer(8),
    "real": Float(4),
    "float": Float(8),
    "datetime": DateTime(),
    "uniqueidentifier": UniqueIdentifier(),
    "nvarchar(max)": NVarCharMax(None),
}
SIZED = {"nvarchar": NVarChar, "varbinary": VarBinary, "binary": Binary}


def column_type(written):
    plain = PLAIN.get(written)
    if plain is not None:
        return plain
    sized = re.fullmatch(r"(\w+)\((\d+)\)", written)
    if sized is None or sized[1] not in SIZED:
        raise ValueError(f"no column can be of type {written!r} here")
    return SIZED[sized[1]](int(sized[2]))


def reader(kind):
    """What turns a JSON value into what the peer keeps in a column of this type."""
    if isinstance(kind, DateTime):
        return datetime.datetime.fromisoformat
    if isinstance(kind, (VarBinary, Binary)):
        return bytes.fromhex
    return lambda value: value


def table(spec):
    columns = [Column(one["name"], column_type(one["type"])) for one in spec["columns"]]
    readers = [reader(column.type) for column in columns]
    rows = [
        [None if value is None else read(value) for read, value in zip(readers, row, strict=True)]
        for row in spec["rows"]
    ]
    return Table(spec["name"], columns, rows)


class Tables(Catalog):
    """A catalogue of which some tables exist and may not be read.

    As on SQL Server, what a login has no right on is not in its catalogue views, and a SELECT of it
    fails with 229.
    """

    def __init__(self, spec):
        super().__init__()
        for one in spec["tables"]:
            self.add(table(one))
        self.denied = {name.lower(): name for name in spec["denied"]}

    def get(self, name, schema=None, parameters=None):
        denied = self.denied.get(name.lower())
        own = schema or "dbo"
        if denied is not None and own.lower() not in ("sys", "information_schema"):
            raise QueryError(
                f"The SELECT permission was denied on the object '{denied}', "
                f"database '{CATALOG}', schema '{own}'.",
                number=SELECT_DENIED,
                severity=14,
                state=5,
            )
        return super().get(name, schema, parameters)


def answer(value):
    print(json.dumps(value), flush=True)


def main():
    settings = json.loads(sys.stdin.readline())
    served = Tables({"tables": [], "denied": []})

    def handler(query):
        return served.answer(query)

    server = BridgeServer(
        port=0,
        certificate=Certificate(
            cert_pem=settings["certificate"].encode(), key_pem=settings["key"].encode()
        ),
        query_handler=handler,
        logins=LoginStore(
            [
                Login(user=one["user"], secret=one["password"], hashed=False)
                for one in settings["logins"]
            ]
        ),
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    answer({"port": server.address[1]})
    for line in sys.stdin:
        try:
            served = Tables(json.loads(line))
            answer({"served": True})
        except Exception as error:  # whatever it is, the test is told
            answer({"refused": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
