#!/usr/bin/env python3
"""The reports of the role queue, read by Python's email parser (RFC 3462, 3464)."""
import email
import email.policy
import pathlib
import re
import subprocess
import sys
import tempfile

# name: action, status, what the words and the rows hold, the third part's type
WANTED = {
    'refused': ('failed', '5.1.1', ['b@example.com', 'c@example.com', '550 5.1.1 no such user'], 'text/rfc822-headers'),
    'full': ('failed', '5.2.2', ['the mailbox'], 'message/rfc822'),
    'eight': ('failed', '5.1.1', ['b@example.com'], 'text/rfc822-headers'),
    'relayed': ('relayed', '2.0.0', ['b@example.com'], 'text/rfc822-headers'),
    'relayed-through': ('relayed', '2.0.0', ['b@example.com'], 'text/rfc822-headers'),
    'through': ('failed', '5.7.1', ['c@two.example', 'not wanted'], 'text/rfc822-headers'),
    'late': ('delayed', '4.3.0', ['b@example.com', 'tried until'], 'text/rfc822-headers'),
    'old': ('failed', '5.4.7', ['b@example.com', '451 4.3.0 later', 'in time'], 'text/rfc822-headers'),
}


def check(name, raw, envelope):
    action, status, words, third = WANTED[name]
    assert raw.endswith(b'\r\n'), 'ends with a line end'
    assert not re.search(rb'(?<!\r)\n|\r(?!\n)|\0', raw), 'CRLF alone ends lines'
    assert all(len(line) <= 998 for line in raw.split(b'\r\n')), 'lines of RFC 5322'
    assert not re.search(rb'[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]', raw), 'no control characters'
    if envelope:
        assert 'from=<> to=<a@example.org>' in envelope, envelope
        assert ('eight=1' in envelope) == any(b > 127 for b in raw), envelope
    m = email.message_from_bytes(raw, policy=email.policy.default)
    assert not m.defects, m.defects
    assert m.get_content_type() == 'multipart/report' and m.get_param('report-type') == 'delivery-status'
    assert m['Auto-Submitted'] == 'auto-replied' and m['Message-ID'] and m['Date']
    assert m['To'] == '<a@example.org>' or 'a@example.org' in m['To']
    human, rows, original = m.get_payload()
    assert human.get_content_type() == 'text/plain'
    assert rows.get_content_type() == 'message/delivery-status'
    assert original.get_content_type() == third, original.get_content_type()
    text = human.get_content()
    assert 'postmaster@example.org' in text, 'whom to ask'
    head, *recipients = rows.get_payload()
    assert head['Reporting-MTA'] == 'dns; mail.example.org', head['Reporting-MTA']
    assert head['Arrival-Date']
    assert len(recipients) == (2 if name == 'refused' else 1), len(recipients)
    for r in recipients:
        assert r['Action'] == action and r['Status'] == status, (r['Action'], r['Status'])
        assert r['Final-Recipient'].startswith('rfc822; ')
        if action == 'failed':
            assert r['Diagnostic-Code'].startswith('smtp; '), r['Diagnostic-Code']
    everything = text + ''.join(str(r) for r in recipients)
    for w in words:
        assert w in everything, w
    returned = str(original)
    assert 'From: a@example.org' in returned
    assert ('Hello.' in returned) == (name == 'full'), 'the body comes back with RET=FULL alone'


def main():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.argv[1], folder], check=True, timeout=120)
        for name in WANTED:
            path = pathlib.Path(folder) / name
            raw = path.with_suffix('.eml').read_bytes()
            try:
                check(name, raw, path.with_suffix('.txt').read_text())
            except AssertionError as e:
                sys.exit(f'{name}: {e!r}\n{raw.decode(errors="replace")}')
            print(f'{name}: well')


main()
