"""Results as a warehouse sends them: arrow batches, with Thrift's names for the column types."""

from __future__ import annotations

import pyarrow as pa
from databricks.sql.thrift_api.TCLIService import ttypes

_Id = ttypes.TTypeId
_EXACT = {
    pa.bool_(): _Id.BOOLEAN_TYPE,
    pa.int8(): _Id.TINYINT_TYPE,
    pa.int16(): _Id.SMALLINT_TYPE,
    pa.int32(): _Id.INT_TYPE,
    pa.int64(): _Id.BIGINT_TYPE,
    pa.float32(): _Id.FLOAT_TYPE,
    pa.float64(): _Id.DOUBLE_TYPE,
    pa.string(): _Id.STRING_TYPE,
    pa.binary(): _Id.BINARY_TYPE,
    pa.date32(): _Id.DATE_TYPE,
    pa.null(): _Id.NULL_TYPE,
}


def as_sent(table: pa.Table) -> pa.Table:
    """The same rows in the types a warehouse uses: microseconds in UTC, 64-bit sums, plain strings."""
    fields = [pa.field(field.name, _sent_type(field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))


def _sent_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "Etc/UTC" if kind.tz else None)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_unsigned_integer(kind) or (pa.types.is_decimal(kind) and kind.precision == 38 and kind.scale == 0):
        return pa.int64()  # DuckDB counts in HUGEINT
    return kind


def metadata(table: pa.Table) -> ttypes.TGetResultSetMetadataResp:
    """What the columns are."""
    columns = [
        ttypes.TColumnDesc(columnName=field.name, typeDesc=_type(field.type), position=place)
        for place, field in enumerate(table.schema, start=1)
    ]
    return ttypes.TGetResultSetMetadataResp(
        status=ttypes.TStatus(statusCode=ttypes.TStatusCode.SUCCESS_STATUS),
        schema=ttypes.TTableSchema(columns=columns),
        resultFormat=ttypes.TSparkRowSetType.ARROW_BASED_SET,
        lz4Compressed=False,
        arrowSchema=table.schema.serialize().to_pybytes(),
        isStagingOperation=False,
    )


def rows(table: pa.Table) -> ttypes.TRowSet:
    """The rows themselves."""
    batches = [
        ttypes.TSparkArrowBatch(batch=batch.serialize().to_pybytes(), rowCount=batch.num_rows)
        for batch in table.to_batches()
    ]
    return ttypes.TRowSet(startRowOffset=0, rows=[], arrowBatches=batches)


def _type(kind: pa.DataType) -> ttypes.TTypeDesc:
    qualifiers = None
    if pa.types.is_decimal(kind):
        sizes = {"precision": kind.precision, "scale": kind.scale}
        values = {name: ttypes.TTypeQualifierValue(i32Value=size) for name, size in sizes.items()}
        qualifiers = ttypes.TTypeQualifiers(qualifiers=values)
    entry = ttypes.TPrimitiveTypeEntry(type=_type_id(kind), typeQualifiers=qualifiers)
    return ttypes.TTypeDesc(types=[ttypes.TTypeEntry(primitiveEntry=entry)])


def _type_id(kind: pa.DataType) -> int:
    if pa.types.is_timestamp(kind):
        return _Id.TIMESTAMP_TYPE
    if pa.types.is_decimal(kind):
        return _Id.DECIMAL_TYPE
    if pa.types.is_list(kind):
        return _Id.ARRAY_TYPE
    if pa.types.is_struct(kind):
        return _Id.STRUCT_TYPE
    if pa.types.is_map(kind):
        return _Id.MAP_TYPE
    return _EXACT[kind]
