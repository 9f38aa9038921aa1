"""Which SQL functions a gate may use: those whose answer depends on nothing but their arguments.

Everything else is refused, so a function that DuckDB adds later is not allowed by accident. Left out on
purpose: what reads a clock, a random source, a file, a setting or a variable; what takes any row (`first`,
`any_value`, `arg_max` with ties, `mode`), approximates, or makes rows out of nothing (`range`, `repeat`).
"""

from collections.abc import Mapping

OPERATORS = frozenset({
    "+", "-", "*", "/", "//", "%", "^", "**", "||", "&", "|", "~", "<<", ">>", "@", "@>", "<@", "&&",
    "~~", "!~~", "~~*", "!~~*", "~~~", "->>",
})  # fmt: skip

SCALARS = frozenset({
    # Numbers.
    "abs", "ceil", "ceiling", "floor", "round", "trunc", "sign", "sqrt", "cbrt", "ln", "log", "log2", "log10",
    "exp", "pow", "power", "mod", "greatest", "least", "isfinite", "isinf", "isnan", "even", "gcd", "bit_count",
    # Text and bytes.
    "length", "len", "strlen", "char_length", "octet_length", "lower", "upper", "trim", "ltrim", "rtrim",
    "substr", "substring", "left", "right", "replace", "split_part", "string_split", "str_split", "split",
    "starts_with", "ends_with", "prefix", "suffix", "contains", "position", "strpos", "instr", "reverse",
    "concat", "concat_ws", "regexp_matches", "regexp_full_match", "regexp_extract", "regexp_extract_all",
    "regexp_replace", "regexp_split_to_array", "like_escape", "not_like_escape", "ilike_escape",
    "not_ilike_escape", "translate", "ascii", "unicode", "ord", "chr", "hex", "to_hex", "unhex", "from_hex",
    "base64", "to_base64", "from_base64", "encode", "decode", "md5", "sha1", "sha256", "levenshtein",
    "nullif", "if", "typeof",
    # JSON.
    "json", "json_extract", "json_extract_string", "json_extract_path", "json_extract_path_text", "json_value",
    "json_exists", "json_contains", "json_array_length", "json_keys", "json_type", "json_valid", "json_object",
    "json_array", "to_json", "from_json", "from_json_strict", "json_transform", "json_transform_strict",
    # Lists, structs and maps.
    "array_contains", "list_contains", "list_has", "list_has_any", "list_has_all", "array_has_any",
    "array_has_all", "list_distinct", "list_unique", "list_sort", "list_reverse_sort", "list_position",
    "list_concat", "array_concat", "list_slice", "array_slice", "list_extract", "array_extract", "list_element",
    "list_value", "list_filter", "list_transform", "list_apply", "list_intersect", "list_zip", "list_sum",
    "list_min", "list_max", "list_count", "list_bool_and", "list_bool_or", "list_reverse", "array_length",
    "array_to_string", "flatten", "list_cosine_similarity", "list_cosine_distance", "list_inner_product",
    "list_dot_product", "list_distance", "struct_pack", "struct_extract", "row", "map", "map_extract",
    "map_keys", "map_values", "element_at", "cardinality",
    # Points in time that are in the evidence; the time zone is UTC.
    "epoch", "epoch_ms", "epoch_us", "make_timestamp", "to_timestamp", "date_part", "date_diff", "datediff",
    "date_trunc", "strftime", "strptime", "try_strptime", "to_milliseconds", "to_seconds", "to_minutes",
    "to_hours", "to_days",
})  # fmt: skip

COUNTS = frozenset({"count", "count_star", "count_if"})
"""Aggregates to which a NULL is an answer: their population are all rows."""

AGGREGATES = COUNTS | frozenset({
    "sum", "fsum", "kahan_sum", "sumkahan", "avg", "mean", "favg", "min", "max", "median", "quantile_cont",
    "quantile_disc", "stddev", "stddev_pop", "stddev_samp", "variance", "var_pop", "var_samp", "bool_and",
    "bool_or", "bit_and", "bit_or", "bit_xor", "corr", "covar_pop", "covar_samp", "regr_slope",
    "regr_intercept", "regr_r2", "regr_count",
})  # fmt: skip
"""Aggregates that do not depend on the order of the rows. Sums of doubles do, in their last bits, which is
why the judge reads rows in the order of the sealed tables with one thread; `fsum` compensates."""

ROUNDED = frozenset({
    "sum", "fsum", "kahan_sum", "sumkahan", "avg", "mean", "favg", "stddev", "stddev_pop", "stddev_samp", "variance",
    "var_pop", "var_samp", "corr", "covar_pop", "covar_samp", "regr_slope", "regr_intercept", "regr_r2",
})  # fmt: skip
"""Aggregates that depend on the order of doubles in their last bits."""

ORDERED = frozenset(
    {"list", "array_agg", "string_agg", "group_concat", "listagg", "json_group_array"}
)
"""Aggregates that need an ORDER BY of their own."""

WINDOWS = frozenset({
    "row_number", "rank", "dense_rank", "lag", "lead", "first_value", "last_value", "nth_value", "ntile",
    "cume_dist", "percent_rank",
})  # fmt: skip
"""Allowed in the queries of `with:`, with an ORDER BY."""

UNNEST = "unnest"
"""Allowed in the columns of a query of `with:`: its rows keep the `seq` they come from."""

QUANTILES = frozenset({"quantile_cont", "quantile_disc"})

FLOATING = frozenset(
    {"/", "sqrt", "cbrt", "ln", "log", "log2", "log10", "exp", "pow", "power", "^", "**"}
)
"""What can turn numbers into NaN or infinity."""

JSON_EXTRACTS: Mapping[str, str] = {
    "->>": "VARCHAR",
    "json_extract_string": "VARCHAR",
    "json_extract_path_text": "VARCHAR",
    "json_value": "VARCHAR",
    "json_extract": "JSON",
    "json_extract_path": "JSON",
}
"""Ways of reaching into a JSON column, with the type they give for one path."""

PSEUDO_COLUMNS = frozenset({
    "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "current_user", "user",
    "session_user", "current_role", "current_catalog", "current_schema", "current_database", "rowid",
})  # fmt: skip
"""Names that bind to a function, or to a place in memory, when no column is called so."""

SCALAR_CALLS = OPERATORS | SCALARS
