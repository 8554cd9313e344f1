# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's other frontend: its private D-Bus socket, so that one test sees what is done over both."""
from gi.repository import Gio, GLib

ROOT = '/org/gantry1'
MANAGER = 'org.freedesktop.DBus.ObjectManager'
PROPERTIES = 'org.freedesktop.DBus.Properties'


def v(signature, value):
    return GLib.Variant(signature, value)


class Bus:
    """Calls, and what has been told so far: (path, signal, arguments)."""

    def __init__(self, side):
        self.connection = Gio.DBusConnection.new_for_address_sync(f'unix:path={side.dir}/s/gantry.sock',
                                                                  Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT, None, None)
        self.seen = []
        self.connection.signal_subscribe(None, None, None, None, None, 0, self._on_signal)
        # Signals come to those who have made a call.
        self.call(ROOT, 'org.gantry1.Manager', 'ListJobs')

    def _on_signal(self, connection, sender, path, interface, signal, parameters):
        self.seen.append((path, signal, parameters.unpack()))

    def call(self, path, interface, method, signature=None, *values):
        """The reply: a tuple."""
        return self.connection.call_sync(None, path, interface, method, v(signature, values) if signature else None, None, 0, 120000, None).unpack()

    def properties(self, path, interface):
        return self.call(path, PROPERTIES, 'GetAll', '(s)', interface)[0]

    def managed(self):
        return self.call(ROOT, MANAGER, 'GetManagedObjects')[0]

    def begin(self, path, interface, method, signature, *values):
        """A call whose reply is not waited for. Returns: a function that gives it."""
        replies = []
        self.connection.call(None, path, interface, method, v(signature, values) if signature else None, None, 0, 120000, None,
                             lambda connection, result: replies.append(connection.call_finish(result).unpack()))

        def finish():
            while not replies:
                GLib.MainContext.default().iteration(True)
            return replies[0]
        return finish

    def status(self, path, *statuses):
        """Awaits a task's changes to these statuses, in order."""
        for status in statuses:
            while self.until('PropertiesChanged', 'org.gantry1.Task', at=path)[1].get('Status') != status:
                pass

    def refused(self, name, *args):
        """The words of the error org.gantry1.Error.@name that the call ends with."""
        try:
            self.call(*args)
        except GLib.Error as error:
            assert f'org.gantry1.Error.{name}' in error.message, error.message
            return error.message
        raise AssertionError('it was not refused')

    def until(self, signal, *begin, at=ROOT):
        """The arguments of the first signal of that name, of the object @at, that begin so, once it has come; it is told once."""
        late = []
        source = GLib.timeout_add_seconds(120, lambda: late.append(True) or True)
        try:
            while True:
                for index, (path, name, arguments) in enumerate(self.seen):
                    if path == at and name == signal and arguments[:len(begin)] == begin:
                        del self.seen[index]
                        return arguments
                assert not late, self.seen
                GLib.MainContext.default().iteration(True)
        finally:
            GLib.source_remove(source)

    def close(self):
        self.connection.close_sync(None)
