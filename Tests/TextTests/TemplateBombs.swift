/// Templates that mean harm.
enum TemplateBombs {
    /// Large, deep or endless: each must meet a limit.
    static let bombs: [String] = [
        "{% for a in range(10**9) %}{% endfor %}",
        "{{ range(10**9)|list }}",
        "{{ 'a' * 10**9 }}",
        "{{ [0] * 10**9 }}",
        "{{ 'a'.center(10**9) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ 9 ** 9 ** 9 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
        "{% for a in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
        "{% set ns = namespace(a='a') %}{% for i in range(64) %}"
            + "{% set ns.a = ns.a + ns.a %}{% endfor %}",
        "{% set ns = namespace(a=[1]) %}{% for i in range(64) %}"
            + "{% set ns.a = ns.a + ns.a %}{% endfor %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor "
            + "%}",
        "{% for a in range(100000) %}{{ 'aaaaaaaaaa' * 100000 }}{% endfor %}",
        "{% set x = range(100000)|list %}{% for i in x %}{{ x|sort|length }}{% endfor %"
            + "}",
        "{% set x = 'a' * 1000000 %}{% for i in range(100000) %}"
            + "{{ x.replace('a', 'b')|length }}{% endfor %}",
        "{% set x = 'a' * 1000000 %}{% for i in range(100000) %}{% if (x + 'b') in x %}"
            + "{% endif %}{% endfor %}",
        "{% set ns = namespace(a=[]) %}{% for i in range(100000) %}"
            + "{% set ns.a = [ns.a] %}{% endfor %}",
        "{% set ns = namespace(a={}) %}{% for i in range(100000) %}"
            + "{% set ns.a = {1: ns.a} %}{% endfor %}",
        "{% set ns = namespace(a=[]) %}{% for i in range(100000) %}"
            + "{% set ns.a = [ns.a].count %}{% endfor %}",
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}"
            + "{% set ns.a = (ns.a, 1) %}{% endfor %}",
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}"
            + "{% set ns.a = [ns.a]|batch(1) %}{% endfor %}",
        "{% set ns = namespace(a=[]) %}{% for i in range(64) %}"
            + "{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}",
        "{% set ns = namespace(a=[]) %}{% for i in range(64) %}"
            + "{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a|tojson }}",
        "{% set ns = namespace(a=[], b=[]) %}{% for i in range(64) %}"
            + "{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}"
            + "{{ ns.a == ns.b }}",
        "{% set ns = namespace(a=(), b=()) %}{% for i in range(64) %}"
            + "{% set ns.a = (ns.a, ns.a) %}{% set ns.b = (ns.b, ns.b) %}{% endfor %}"
            + "{{ ns.a < ns.b }}",
        "{% set ns = namespace(a=(), b=()) %}{% for i in range(64) %}"
            + "{% set ns.a = (ns.a, ns.a) %}{% endfor %}{{ {ns.a: 1} }}",
        "{% set ns = namespace(a=(), b=()) %}{% for i in range(64) %}"
            + "{% set ns.a = (ns.a, ns.a) %}{% endfor %}{{ {}[ns.a] }}",
        "{% set ns = namespace(a=(), b=()) %}{% for i in range(64) %}"
            + "{% set ns.a = (ns.a, ns.a) %}{% endfor %}{{ [1] | join(ns.a) }}",
        "{% set s = 'a' * 1000000 %}{{ [s] * 1000000 }}",
        "{% set s = 'a' * 1000000 %}{{ ([s] * 100000)|join }}",
        "{% set s = 'a' * 1000000 %}{{ '%s' * 100000 % (([s] * 100000)|list) }}"
            + "{{ ('%s' * 1000) % (s,s,s,s,s,s,s,s) }}",
        "{% set s = 'a' * 1000000 %}{{ ('{0}' * 100000).format(s) }}",
        "{{ ('{0:>9999}' * 100000).format(1) }}",
        "{{ '%9999d' * 100000 % ((1,) * 100000) }}",
        "{% set s = 'a' * 1000000 %}{{ ([[1]] * 100)|tojson(indent=s) }}",
        "{{ ([1] * 1000000)|tojson(separators=('a' * 1000000, ':')) }}",
        "{% set x = [1] * 1000000 %}{% for i in range(100000) %}{{ x|upper|length }}"
            + "{% endfor %}",
        "{% set x = [1] * 1000000 %}{% for i in range(100000) %}{% if 2 in x %}"
            + "{% endif %}{% endfor %}",
        "{% set x = [1] * 1000000 %}{% for i in range(100000) %}{% if x == x + [1] %}"
            + "{% endif %}{% set y = x[1:] %}{% endfor %}",
        "{% set x = [1] * 1000000 %}{% for i in range(100000) %}{{ x.count(2) }}"
            + "{% endfor %}",
        "{% set x = ['a' * 1000] * 1000000 %}{% for i in range(100000) %}"
            + "{% if ('a' * 999 + 'b') in x %}{% endif %}{% endfor %}",
        "{% set x = 'a' * 4000000 %}{% for i in range(100000) %}{% if {}[x] %}{% endif %}"
            + "{% endfor %}",
        "{% set x = 'a' * 4000000 %}{% for i in range(100000) %}{% set y = x|upper %}"
            + "{% endfor %}",
        "{% set x = 'a ' * 2000000 %}{% for i in range(100000) %}{% set y = x.split() %}"
            + "{% endfor %}",
        "{% set x = 'a ' * 2000000 %}{% for i in range(100000) %}"
            + "{% set y = x.split(' ') %}{% endfor %}",
        "{% set x = 'a ' * 500000 %}{% for i in range(100000) %}"
            + "{% set y = x.split(' ') %}{% endfor %}",
        "{% set x = 'a ' * 500000 %}{% for i in range(100000) %}"
            + "{% set y = x.rsplit(' ', 1000) %}{% endfor %}",
        "{% set x = 'a\\n' * 2000000 %}{% for i in range(100000) %}"
            + "{% set y = x.splitlines() %}{% endfor %}",
        "{% set x = 'a' * 1000000 %}{% for i in range(100000) %}"
            + "{% if (x + 'b') in (x + x) %}{% endif %}{% endfor %}",
        "{% set x = (s[0] ~ 'b') * 1000000 %}{% for i in range(100000) %}"
            + "{% set y = x|upper %}{% set z = x[::-1] %}{% endfor %}",
        "{% set x = (s[0] ~ 'b') * 500000 %}{% for i in range(100000) %}{% for c in x %}"
            + "{% endfor %}{% endfor %}",
        "{% for i in range(100000) %}{% set y = range(100000)|length %}{% endfor %}",
        "{% set x = range(100000)|list %}{% for i in x %}"
            + "{% set y = x|map('string')|unique|list %}{% endfor %}",
        "{% set x = 'x'|batch(1000000, 1)|list %}{% for i in range(100000) %}"
            + "{% set y = 'x'|slice(1000000)|list %}{% endfor %}",
        "{% set x = 'a' * 4000000 %}{% for i in range(100000) %}{% set y = x|int %}"
            + "{% set y = x|float %}{% endfor %}",
        "{% set x = '<' * 4000000 %}{% for i in range(100000) %}{% set y = x|e %}"
            + "{% endfor %}",
        "{% set x = '\\n' * 4000000 %}{% for i in range(100000) %}"
            + "{% set y = x|indent(10000, blank=true) %}{% endfor %}",
        "{% set x = 'é' * 2000000 %}{% for i in range(100000) %}{% set y = x|urlencode %}"
            + "{% set y = x|striptags %}{% set y = x|title %}{% endfor %}",
        "{% set x = 'a' * 4000000 %}{% for i in range(100000) %}"
            + "{% set y = x.startswith(x) %}{% set y = x|wordcount %}{% set y = x.isalpha() %}"
            + "{% endfor %}",
        "{% set x = 'a' * 4000000 %}{% for i in range(100000) %}{% set y = x.strip(x) %}"
            + "{% endfor %}",
        "{% set x = 'a.' * 1000000 %}{% set l = [{'a': 1}] * 100000 %}{% for i in l %}"
            + "{% set y = l|map(attribute='.' * 1000000 ~ 'a')|list %}{% endfor %}",
        "{% set x = 'a' * 1000000 %}{% for i in range(100000) %}{{ x|tojson|length }}"
            + "{{ [x]|string|length }}{{ x|pprint|length }}{% endfor %}",
        "{% set ns = namespace(a='') %}{% for i in range(100000) %}"
            + "{% for j in range(100000) %}"
            + "{% set ns.a = ns.a ~ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' %}{% endfor %}"
            + "{% endfor %}",
        "{% set ns = namespace(a=[]) %}{% for i in range(100000) %}"
            + "{% for j in range(100000) %}{% set ns.a = ns.a + [j] %}{% endfor %}{% endfor %"
            + "}",
        "{% macro m() %}{% endmacro %}{% set x = dict([1] * 5) %}"
            + "{% for i in range(100000) %}{{ m(*range(100000)) }}{% endfor %}",
        "{% set x = 'a' * 100000 %}{% set l = [x] * 40 %}{% for i in range(100000) %}"
            + "{{ (l|sort)|length }}{{ l|max|length }}{% endfor %}",
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}"
            + "{% for j in range(10) %}{% set ns.a = namespace(a=ns.a) %}{% endfor %}"
            + "{% endfor %}",
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}"
            + "{% for j in range(10) %}{% set ns.a = cycler(ns.a) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}"
            + "{% for j in range(10) %}{% set p = ns.a %}{% macro f() %}{% endmacro %}"
            + "{% set ns.a = f %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}"
            + "{% for j in range(10) %}{% for x in [ns.a] %}{% set ns.a = loop %}{% endfor %}"
            + "{% endfor %}{% endfor %}",
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}"
            + "{% for j in range(10) %}{% for x in [1] recursive %}{% set p = ns.a %}"
            + "{% for y in [1] recursive %}{% set ns.a = loop %}{% endfor %}{% endfor %}"
            + "{% endfor %}{% endfor %}",
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}"
            + "{% for j in range(10) %}{% for x in [1] %}{% if loop.changed(ns.a) %}{% endif %}"
            + "{% set ns.a = loop %}{% endfor %}{% endfor %}{% endfor %}",
    ]

    /// Sources nested more deeply than the parser allows.
    static let deepSources: [String] = [
        nested("{{ ", "(", "1", ")", " }}"),
        nested("{{ ", "[", "", "]", " }}"),
        nested("{{ ", "not ", "1", "", " }}"),
        nested("{{ ", "-", "1", "", " }}"),
        nested("{{ ", "{1:", "1", "}", " }}"),
        nested("{{ ", "1 if 1 else ", "1", "", " }}"),
        nested("{{ ", "2 ** ", "1", "", " }}"),
        nested("", "{% if 1 %}", "", "{% endif %}", ""),
        nested("", "{% for a in [1] %}", "", "{% endfor %}", ""),
    ]

    /// Long chains and circles of references, which may be made but must be freed without recursion.
    static let chains: [String] = [
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}"
            + "{% set ns.a = namespace(a=ns.a) %}{% endfor %}ok",
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}{% set p = ns.a %}"
            + "{% macro f() %}{% endmacro %}{% set ns.a = f %}{% endfor %}ok",
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}{% for x in [ns.a] %}"
            + "{% set ns.a = loop %}{% endfor %}{% endfor %}ok",
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}"
            + "{% set ns.a = cycler(ns.a) %}{% endfor %}ok",
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}{% for x in [1] %}"
            + "{% if loop.changed(ns.a) %}{% endif %}{% set ns.a = loop %}{% endfor %}"
            + "{% endfor %}ok",
        "{% set ns = namespace(a=1) %}{% for i in range(100000) %}{% set p = ns.a %}"
            + "{% for y in [1] recursive %}{% set ns.a = loop %}{% endfor %}{% endfor %}ok",
        "{% set ns = namespace() %}{% set ns.ns = [ns] %}"
            + "{% macro m() %}{{ m.name }}{% endmacro %}{% set ns.m = m %}ok",
    ]

    private static func nested(
        _ start: String,
        _ open: String,
        _ inner: String,
        _ shut: String,
        _ end: String
    ) -> String {
        start + String(repeating: open, count: 10_000) + inner
            + String(repeating: shut, count: 10_000) + end
    }
}
