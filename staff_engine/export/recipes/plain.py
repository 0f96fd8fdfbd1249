"""The plain template as a chat template, for tools that know no other form of a prompt."""

from staff_engine.data.templates import ROLE_NAMES

_NAMES = ", ".join(f"'{role}': '{name.capitalize()}'" for role, name in ROLE_NAMES.items())

PLAIN = (
    "{%- set names = {" + _NAMES + "} -%}"
    """{{- bos_token or '' -}}
{%- for message in messages -%}
{{- '' if loop.first else '\\n\\n' -}}
{{- '### ' + names.get(message.role, message.role | capitalize) + ':\\n' -}}
{%- set text = message.content or (message.tool_calls | tojson if message.tool_calls else '') -%}
{%- if message.role == 'assistant' and message.weight != 0 -%}
{%- generation -%}{{- text + eos_token -}}{%- endgeneration -%}
{%- else -%}
{{- text -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '\\n\\n### Response:\\n' -}}{%- endif -%}"""
)
"""`data.templates.plain_pieces` with the tokens at both ends, in Jinja; responses are marked."""
