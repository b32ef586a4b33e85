/// Templates and what Python's Jinja2 3.1.6 makes of them.
///
/// With the settings of transformers: `trim_blocks`, `lstrip_blocks`, loop controls, its `tojson`.
enum JinjaCases {
    /// The variables of all cases.
    static let variables = #"""
        {
          "s": "Hello World",
          "u": "  ünï\tcode \n",
          "l": [
            3,
            1,
            2
          ],
          "ls": [
            "b",
            "A",
            "c"
          ],
          "d": {
            "b": 1,
            "a": [
              1,
              {
                "x": null
              }
            ],
            "c": "q'\"\n"
          },
          "n": null,
          "t": true,
          "f": 1.5,
          "i": 7,
          "big": 1e+20,
          "small": 1e-07,
          "e": [],
          "users": [
            {
              "name": "bob",
              "age": 3,
              "g": "x"
            },
            {
              "name": "Al",
              "age": 30,
              "g": "y"
            },
            {
              "name": "cy",
              "age": 5,
              "g": "x"
            }
          ],
          "tree": [
            {
              "v": 1,
              "c": [
                {
                  "v": 2,
                  "c": []
                }
              ]
            }
          ]
        }
        """#

    /// Template and text.
    static let rendered = expressions + statements

    /// Template and text, of whole statements.
    static let statements: [(template: String, text: String)] = [
        ("{% for x in l %}{{ loop.previtem }}|{{ loop.nextitem }};{% endfor %}", "|1;3|2;1|;"),
        ("{% for k,v in d.items() %}{{k}}={{v}};{% endfor %}", "b=1;a=[1, {'x': None}];c=q'\"\n;"),
        ("{% for k,v in d|dictsort %}{{k}}{% endfor %}", "abc"),
        ("{% for x in e %}a{% else %}none{% endfor %}", "none"),
        ("{% for x in l if x>1 %}{{x}}{{loop.index}}{% endfor %}", "3122"),
        ("{% for x in l %}{% if x==1 %}{% continue %}{% endif %}{{x}}{% endfor %}", "32"),
        ("{% for x in l %}{% if x==1 %}{% break %}{% endif %}{{x}}{% endfor %}", "3"),
        ("{% set a = 1 %}{% for x in l %}{% set a = a + x %}{{a}}{% endfor %}{{a}}", "4231"),
        ("{% set a,b = 1,2 %}{{a}}{{b}}", "12"),
        ("{% set a %}x{{ i }}y{% endset %}[{{a}}]", "[x7y]"),
        ("{% set a|upper %}abc{% endset %}{{a}}", "ABC"),
        ("{% if i>5 %}A{% elif i>3 %}B{% else %}C{% endif %}", "A"),
        ("{% if false %}A{% elif t %}B{% endif %}", "B"),
        (
            "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1,2,x=3) }}",
            "(1, 2){'x': 3}"
        ),
        ("{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}hi{% endcall %}", "<hi>"),
        ("{% macro m() %}{{ caller(5) }}{% endmacro %}{% call(x) m() %}v{{x}}{% endcall %}", "v5"),
        ("{% filter upper %}abc{{s}}{% endfilter %}", "ABCHELLO WORLD"),
        ("{% with a=1,b=2 %}{{a}}{{b}}{% endwith %}{{a}}", "12"),
        ("{% generation %}x{% endgeneration %}", "x"),
        ("{% raw %}{{ x }}{% endraw %}y", "{{ x }}y"),
        ("a\n{% if true %}\nb\n{% endif %}\nc\n", "a\nb\nc"),
        ("  {% if true %}  x  {% endif %}  \n y", "  x    \n y"),
        ("a {%- if true -%} b {%- endif -%} c", "abc"),
        ("{{- s -}}  x", "Hello Worldx"),
        ("x  {{- s }}", "xHello World"),
        ("{%+ if true %}x{% endif %}\n", "x"),
        ("   {%+ if true %}x{%+ endif +%}\nz", "   x\nz"),
        ("{# comment #}\nx", "x"),
        ("  {# c #}  y\n", "  y"),
        ("a{# x -#}   b", "ab"),
        ("a  {#- x #} b", "a b"),
        ("x\n\n", "x\n"),
        ("\n\nx\n", "\n\nx"),
        ("{% for x in l %}\n  {{ x }}\n{% endfor %}\n", "  3\n  1\n  2\n"),
        ("{% for x in l -%}\n  {{ x }}\n{%- endfor %}", "312"),
        ("{% for a in [1,2] recursive %}{{a}}{% endfor %}", "12"),
        ("{% for n in tree recursive %}{{n.v}}({{ loop(n.c) }}){% endfor %}", "1(2())"),
        ("{{ loop }}", ""),
        ("{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{x}}", "2"),
        (
            "{% macro m(x) %}{% if x > 0 %}{{x}}{{ m(x-1) }}{% endif %}{% endmacro %}{{ m(3) }}",
            "321"
        ),
        ("{% set q = 5 %}{% macro m() %}{{q}}{% endmacro %}{% set q = 6 %}{{ m() }}", "6"),
        ("{% for i in range(3) %}{{i}}{% endfor %}{{i}}", "0127"),
        (#"{% set x = "a" if false %}[{{x}}]"#, "[]"),
        ("{% set l2 = l + [1] %}{{ l2|length }}", "4"),
        ("{% for a,b in [[1,2],[3,4]] %}{{a}}{{b}}{% endfor %}", "1234"),
        (#"{% for a in "abc" %}{{a}}-{% endfor %}"#, "a-b-c-"),
        (#"{{ {"a":1, "b":[1,2]} }}"#, "{'a': 1, 'b': [1, 2]}"),
        ("{%- set x -%} hi {%- endset -%}[{{x}}]", "[hi]"),
        ("{% if zz %}a{% else %}b{% endif %}", "b"),
        ("{% set ns = namespace() %}{% set ns.x = 1 %}{{ ns.x }}{{ ns.y is defined }}", "1False"),
        ("\r\nx\r\n", "\nx"),
        ("{{ \"a\" }}\n", "a"),
        ("{{ \"a\" }}\n\n{{ \"b\" }}", "a\n\nb"),
        ("{%- macro a() -%}\n  x\n{%- endmacro -%}\n{{ a() }}", "x"),
        ("{% for x in l %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}", "3, 1, 2"),
        (#"{{ [1,2,3] | map("string") | join("") }}"#, "123"),
        ("{% set x, y = l[0], l[1] %}{{ x }}{{ y }}", "31"),
        ("{{ l | sort | first }} {{ l|max }}", "1 3"),
        ("{% for x in l|sort %}{{x}}{% endfor %}", "123"),
        (#"{{ "a" is string and l is not string }}"#, "True"),
        ("{{ l is iterable and l is not mapping }}", "True"),
        ("{{ m is not defined or m is none }}", "True"),
        (#"{{ "x" ~ ("y" if t else "z") }}"#, "xy"),
        (#"{% if "a" in d and d["a"] %}1{% endif %}"#, "1"),
    ]

    /// Templates at which Python ends with an error.
    static let refused: [String] = [
        "{{ zz.a }}",
        "{{ 3 in l is true }}",
        "{{ zz|tojson }}",
        "{{ l.append(1) }}",
        "{{ d.update({}) }}",
        "{{ s is startingwith }}",
        "{{ s|nofilter }}",
        "{{ s is notest }}",
        "{{ foo() }}",
        "{{ l() }}",
        "{{ s.nomethod() }}",
        "{{ 1/0 }}",
        "{{ 1%0 }}",
        #"{{ "a"+1 }}"#,
        #"{{ 1+"a" }}"#,
        #"{{ l+"a" }}"#,
        #"{{ -"a" }}"#,
        "{{ range(200000)|length }}",
        "{{ 5. }}",
        "{{ .5 }}",
        #"{{ "a" ~ 1 + 2 }}"#,
        "{% macro m(a,b=2,*c) %}x{% endmacro %}",
        "{% set x = [] %}{{ x.append(1) }}",
        "{% set x = {} %}{% set x.a = 1 %}",
        #"{% include "x" %}"#,
        #"{% extends "x" %}"#,
        "{% foo %}",
        "{{ a",
        "{% if %}",
        "{{ }}",
        "{% for x %}",
        "{% endfor %}",
        "{{ (1 }}",
        #"{{ "abc }}"#,
        #"{{ raise_exception("boo") }}"#,
        "{% if zz.q %}a{% endif %}",
    ]
}
