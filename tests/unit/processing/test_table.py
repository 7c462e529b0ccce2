"""Tables: columns and their types, first rows, and what becomes of those that are too wide, too long or damaged."""

import time
from random import Random

import jsonschema
import pytest

from apps.processing.contract import ProcessingFailed
from apps.processing.processors import table
from apps.processing.processors.table import delimited
from apps.processing.processors.table.columns import Column
from tests import samples
from tests.unit.processing import real

CSV = "text/csv"


def told(job) -> dict:
    """The result, once it is what the schema says."""
    result = table.process(job).result
    jsonschema.validate(result, table.SCHEMA)
    return result


def columns(result: dict) -> dict[str, tuple]:
    return {each["name"]: (each["type"], each["nulls"], each["min"], each["max"]) for each in result["columns"]}


def test_a_csv_has_typed_columns(make_job):
    """Numbers, dates, truth, words and empty cells are told apart; least and greatest where there is an order."""
    content = b"id,price,day,ok,name\n1,2.5,2024-05-17,true,One\n2,,2024-05-18,false,Two\n3,-1,2023-01-01,yes,\n"
    result = told(make_job(content, content_type=CSV))
    assert result["dialect"]["header"] is True
    assert result["rows"] == 3
    assert columns(result) == {
        "id": ("integer", 0, 1, 3),
        "price": ("number", 1, -1.0, 2.5),
        "day": ("date", 0, "2023-01-01", "2024-05-18"),
        "ok": ("boolean", 0, None, None),
        "name": ("text", 1, None, None),
    }
    assert result["first_rows"][0] == ["1", "2.5", "2024-05-17", "true", "One"]
    assert (result["rows_exact"], result["truncated"]) == (True, False)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(make_job, delimiter):
    """Among commas in words, too; a quoted newline is no row."""
    rows = [["name", "text"], ["a", '"one, two\nthree"'], ["b", '"x; y"']]
    content = "\r\n".join(delimiter.join(row) for row in rows).encode()
    result = told(make_job(content, content_type=CSV))
    assert result["dialect"]["delimiter"] == delimiter
    assert (result["rows"], result["column_count"]) == (2, 2)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_a_csv_in_another_encoding_is_read(make_job, encoding):
    """By its mark, or by its letters."""
    content = ("name;Größe\n" + "Müßiggänger;7\n" * 20).encode(encoding)
    result = told(make_job(content, content_type=CSV))
    assert [each["name"] for each in result["columns"]] == ["name", "Größe"]
    assert result["rows"] == 20


def test_a_very_wide_row_is_counted_and_partly_described(make_job):
    """A hundred thousand columns cost no more than two hundred."""
    content = ",".join(f"c{n}" for n in range(100_000)) + "\n" + ",".join("1" * 100_000) + "\n"
    result = told(make_job(content.encode(), content_type=CSV))
    assert (result["column_count"], len(result["columns"]), result["rows"]) == (100_000, 200, 1)


def test_a_line_without_end_is_cut(make_job):
    """It is not held in memory, and the result says that there is more."""
    result = told(make_job(b"a,b\n1,2\n" + b"x" * (3 * delimited.LINE_CHARACTERS), content_type=CSV))
    assert (result["truncated"], result["rows_exact"]) == (True, False)
    assert result["rows"] >= 1


def test_a_quote_that_never_closes_is_cut(make_job):
    """So is the field that would be the rest of the file."""
    result = told(make_job(b'a,b\n1,"' + b"text\n" * 200_000, content_type=CSV))
    assert result["truncated"] is True


def test_one_row_is_a_table(make_job):
    """Without a header."""
    result = told(make_job(b"1,2,3\n", content_type=CSV))
    assert (result["rows"], result["column_count"], result["dialect"]["header"]) == (1, 3, False)


def test_json_lines_are_a_table(make_job):
    """Keys are columns; a line that is none is counted."""
    content = b'{"id": 1, "name": "a"}\n{"id": 2, "tags": ["x"]}\nnot JSON\n\n[1]\n'
    result = told(make_job(content, content_type="application/x-ndjson"))
    assert (result["rows"], result["invalid_lines"]) == (3, 1)
    assert columns(result)["id"] == ("integer", 1, 1, 2)
    assert [each["name"] for each in result["columns"]] == ["id", "name", "tags", ""]


def test_a_workbook_has_sheets(make_job):
    """All by name and size, one of them as a table."""
    result = told(make_job(real.xlsx(rows=30)))
    assert result["format"] == "xlsx"
    assert result["sheets"][0] == {
        "name": "Data", "rows": 31, "columns": 2, "visible": True, "readable": True,
    }  # fmt: skip
    assert (result["sheets"][1]["name"], result["sheets"][1]["visible"]) == ("Secret", False)
    assert columns(result) == {"Name": ("text", 0, None, None), "Value": ("integer", 0, 0, 29)}
    assert result["rows"] == 30


def test_f16_a_workbook_that_unpacks_to_too_much_is_refused(make_job):
    """Before the library sees it, whatever it declares."""
    content = real.packed({"xl/workbook.xml": b"<workbook/>", "xl/sharedStrings.xml": b" " * 300_000_000})
    assert len(content) < 1_000_000
    with pytest.raises(ProcessingFailed) as failure:
        table.process(make_job(content, content_type=next(iter(table.spreadsheet.FORMATS))))
    assert failure.value.code == "table_too_large"


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04broken", real.packed({"nothing": b"x"}), b"\xd0\xcf\x11\xe0" + bytes(600)]
)
def test_a_workbook_that_is_none_is_broken(make_job, content):
    """Whatever the library makes of it."""
    with pytest.raises(ProcessingFailed) as failure:
        table.process(make_job(content, content_type=next(iter(table.spreadsheet.FORMATS))))
    assert failure.value.code == "table_broken"


def _thrift(*fields: tuple[int, int, bytes]) -> bytes:
    out, last = b"", 0
    for number, sort, value in fields:
        out += bytes([(number - last) << 4 | sort]) + value
        last = number
    return out + b"\0"


def _i(value: int) -> bytes:
    value = value << 1
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _b(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def parquet() -> bytes:
    """A footer of one column of 64-bit numbers from 5 to 9, two of them missing."""
    root = _thrift((4, 8, _b(b"schema")), (5, 5, _i(1)))
    leaf = _thrift((1, 5, _i(2)), (3, 5, _i(1)), (4, 8, _b(b"n")))
    low, high = (5).to_bytes(8, "little"), (9).to_bytes(8, "little")
    statistics = _thrift((3, 6, _i(2)), (5, 8, _b(high)), (6, 8, _b(low)))
    column = _thrift((3, 12, _thrift((12, 12, statistics))))
    group = _thrift((1, 9, b"\x1c" + column), (3, 6, _i(10)))
    meta = _thrift(
        (1, 5, _i(1)), (2, 9, b"\x2c" + root + leaf), (3, 6, _i(10)), (4, 9, b"\x1c" + group), (6, 8, _b(b"by hand"))
    )
    return b"PAR1" + meta + len(meta).to_bytes(4, "little") + b"PAR1"


def test_a_parquet_is_told_by_its_footer(make_job):
    """Rows, columns, and what the row groups say of them."""
    result = told(make_job(parquet()))
    assert (result["rows"], result["row_groups"], result["made_by"]) == (10, 1, "by hand")
    assert columns(result) == {"n": ("integer", 2, 5, 9)}


def test_a_parquet_footer_that_lies_is_broken(make_job):
    """Too long, cut off, or no footer at all."""
    whole = parquet()
    for content in (whole[:-8] + b"\xff\xff\xff\x03PAR1", whole[4:-20] + whole[-8:], b"PAR1" + bytes(20) + b"PAR1"):
        with pytest.raises(ProcessingFailed) as failure:
            table.process(make_job(content, content_type="application/vnd.apache.parquet"))
        assert failure.value.code == "table_broken"


def test_the_samples_are_tables(make_job):
    """Of each type that is told as one, but for the workbooks that are only a shell."""
    for sample in (samples.csv, samples.csv_bom, samples.tsv, samples.ndjson):
        assert told(make_job(sample()))["rows"] > 0


@pytest.mark.parametrize(
    ("cell", "code"), [("XFD1048576", "table_too_large"), ("AZ1048576", "table_too_large"), ("A1048576", None)]
)
def test_a_stray_cell_far_away(make_job, cell, code):
    """The library makes room for the rectangle that all cells span; more of it than there is memory for is refused."""
    content = real.xlsx(0, formula=f'<row r="1048576"><c r="{cell}"><v>2</v></c></row>')
    if code is None:
        assert table.process(make_job(content)).result["sheets"][0]["rows"] == 1048576
        return
    with pytest.raises(ProcessingFailed) as failure:
        table.process(make_job(content))
    assert failure.value.code == code


@pytest.mark.parametrize(
    ("cells", "sort"),
    [
        ("01234 04103", "text"),
        ("01234 10115 20095 80331", "text"),
        ("0 -2 +3", "integer"),
        ("00 0", "text"),
        ("0.5 0,25 .5 1e3", "number"),
        ("01.5 2", "mixed"),
        ("1 2 3 words", "mixed"),
        ("12345678901234567890 1", "text"),
    ],
)
def test_leading_zeros_are_part_of_a_word(make_job, cells, sort):
    """A postal code is no number, nor are the others of its column; a zero that stands alone is one."""
    content = "id,code\n" + "".join(f'x{number},"{cell}"\n' for number, cell in enumerate(cells.split()))
    result = told(make_job(content.encode(), content_type=CSV))
    assert result["columns"][1]["type"] == sort


def test_json_lines_cost_their_cells(make_job):
    """Rows that have keys of their own each do not multiply with the columns, which are told apart up to a bound."""
    rows = 3000
    content = "".join(f'{{"id": {n}, ' + ", ".join(f'"k{n}_{m}": 1' for m in range(20)) + "}\n" for n in range(rows))
    began = time.process_time()
    result = told(make_job(content.encode(), content_type="application/x-ndjson"))
    assert time.process_time() - began < 5
    assert (result["rows"], result["column_count"], len(result["columns"])) == (rows, delimited.NAMES, 200)
    assert columns(result)["id"] == ("integer", 0, 0, rows - 1)
    assert columns(result)["k0_0"] == ("integer", rows - 1, 1, 1)
    assert (result["truncated"], result["rows_exact"]) == (True, True)


@pytest.mark.parametrize(
    ("opening", "preamble"),
    [
        ("sep=;\r\n", 1),
        ("\ufeffsep=;\n", 1),
        ("# generated by hand\n# today; at noon\n", 2),
        ("Report 2026\n\n", 1),
        ("Report 2026;;\n", 1),
        ("", 0),
    ],
)
def test_what_stands_before_the_header_is_none(make_job, opening, preamble):
    """A hint for Excel, comments and a title are passed over, and told of."""
    result = told(make_job(f"{opening}id;name;n\n1;Bob;5\n2;Al;6\n".encode(), content_type=CSV))
    assert [each["name"] for each in result["columns"]] == ["id", "name", "n"]
    assert result["rows"] == 2
    assert (result["dialect"]["delimiter"], result["dialect"]["preamble"]) == (";", preamble)


@pytest.mark.parametrize("content", ["1,2\n", "x\n1,2\n3,4\n", "7\n1,2\n3,4\n", "#,name\n1,a\n2,b\n", "a,\n1,2\n"])
def test_rows_that_may_be_data_are_kept(make_job, content):
    """A number that stands alone, a row that lacks a cell and a column called # are no titles and no comments."""
    result = told(make_job(content.encode(), content_type=CSV))
    assert result["dialect"]["preamble"] == (content[0] == "x")


@pytest.mark.parametrize(
    ("cells", "sort"),
    [
        ("2026-13-45 2026-01-01 2026-02-30", "text"),
        ("2026-01-01T25:00 2026-01-01T23:61", "text"),
        ("2026-01-01T23:59:60Z 2024-02-29", "datetime"),
        ("+49123 +1555", "text"),
        ("+49123 1555", "text"),
        ("+0.5 -0.25 0", "number"),
        ("+5 -3 x", "mixed"),
    ],
)
def test_only_what_is_one_is_a_date_or_a_number(make_job, cells, sort):
    """A day that no calendar has is a word; so is a plus with digits where not every cell has a sign."""
    content = "id,value\n" + "".join(f"x{number},{cell}\n" for number, cell in enumerate(cells.split()))
    assert told(make_job(content.encode(), content_type=CSV))["columns"][1]["type"] == sort


def test_names_are_stripped(make_job):
    """Of the space that is put behind a comma."""
    result = told(make_job(b"a, b, c\n1, 2, x\n", content_type=CSV))
    assert [each["name"] for each in result["columns"]] == ["a", "b", "c"]


_CELLS = ["", " ", "x", "Na", "n/a", "no", "None ", "true", "5", " 5", "-7", "+7", "007", "1e3", "1,5", ".5",
          "2024-02-30", "2024-02-29", "2024-02-29T10:00", "9" * 17, "9" * 30, "word " * 20, "Ärger", "_", "٣",
          "1." + "5" * 45]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_many_cells_are_told_as_one_by_one(seed):
    """The pass over a whole column and the look at each cell agree."""
    random = Random(seed)
    some = random.sample(_CELLS, random.randint(1, 4))
    cells = random.choices(some, k=20)
    together, alone = Column(), Column()
    together.add_all(cells)
    for cell in cells:
        alone.add(cell)
    assert together.told(20) == alone.told(20)


MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
HIDDEN = '<row r="1"><c r="A1"><v>1</v></c></row>'


@pytest.mark.parametrize(
    "first",
    [
        "",
        "<worksheet",
        f'<worksheet xmlns="{MAIN}"><sheetData><row r="1"><c r=""><v>1</v></c></row></sheetData></worksheet>',
        f'<!DOCTYPE w [<!ENTITY a "b">]><worksheet xmlns="{MAIN}"><sheetData><row r="1"><c r="A1" t="inlineStr">'
        "<is><t>&a;</t></is></c></row></sheetData></worksheet>",
    ],
)
def test_a_sheet_that_cannot_be_read_is_told_and_no_other_in_its_place(make_job, first):
    """The hidden sheet's cells are not shown as if they were the workbook's."""
    result = told(make_job(real.xlsx(first=first, hidden=HIDDEN)))
    assert [(each["name"], each["readable"]) for each in result["sheets"]] == [("Data", False), ("Secret", True)]
    assert (result["sheet"], result["rows"], result["first_rows"]) == (None, 0, [])
    assert (result["truncated"], result["rows_exact"]) == (True, False)


def test_the_sheet_whose_rows_are_told_is_named(make_job):
    """The first that is not empty, and not hidden."""
    assert told(make_job(real.xlsx(3, hidden=HIDDEN)))["sheet"] == "Data"


def test_entities_that_unfold_without_end_are_a_failure_in_a_workbook_too(make_job):
    """Though its reader would not unfold them."""
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(12))
    first = (
        f'<?xml version="1.0"?><!DOCTYPE lolz [{laughs}]><worksheet xmlns="{MAIN}"><sheetData><row r="1">'
        '<c r="A1" t="inlineStr"><is><t>&l11;</t></is></c></row></sheetData></worksheet>'
    )
    with pytest.raises(ProcessingFailed) as failure:
        table.process(make_job(real.xlsx(first=first)))
    assert failure.value.code == "data_bomb"
