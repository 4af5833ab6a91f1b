"""Compares two CSV files in a query engine: tables.py duckdb|polars OLD NEW

A full outer join on the key, with all columns compared as text; prints how many records were
inserted, updated and deleted.
"""

import sys

KEY = ["device", "product", "version"]


def in_duckdb(old, new):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    read = "SELECT * FROM read_csv(?, header = true, all_varchar = true)"
    columns = [name for name, *_ in connection.execute(read, [new]).description]
    differ = " OR ".join(
        f"o.{name} IS DISTINCT FROM n.{name}" for name in columns if name not in KEY
    )
    query = f"""
        SELECT count(*) FILTER (o.device IS NULL),
               count(*) FILTER (o.device IS NOT NULL AND n.device IS NOT NULL AND ({differ})),
               count(*) FILTER (n.device IS NULL)
        FROM ({read}) AS o FULL OUTER JOIN ({read}) AS n USING ({", ".join(KEY)})
    """
    return connection.execute(query, [old, new]).fetchone()


def in_polars(old, new):
    import polars as pl

    read = lambda path: pl.scan_csv(path, infer_schema=False)
    old = read(old).with_columns(pl.lit(True).alias("in_old"))
    new = read(new).with_columns(pl.lit(True).alias("in_new"))
    columns = [name for name in new.collect_schema().names() if name not in [*KEY, "in_new"]]
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_new")) for name in columns)
    in_old, in_new = pl.col("in_old").is_not_null(), pl.col("in_new").is_not_null()
    joined = old.join(new, on=KEY, how="full", suffix="_new").select(
        (~in_old).sum().alias("inserts"),
        (in_old & in_new & differs).sum().alias("updates"),
        (~in_new).sum().alias("deletes"),
    )
    return joined.collect(engine="streaming").row(0)


def main():
    engine, old, new = sys.argv[1:]
    counts = {"duckdb": in_duckdb, "polars": in_polars}[engine](old, new)
    for name, count in zip(["inserts", "updates", "deletes"], counts):
        print(f"{name}={count}")


main()
