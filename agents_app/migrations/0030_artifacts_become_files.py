"""Store the data of artifacts as files. One artifact is in memory at a time."""

import hashlib

from django.core.files.base import ContentFile
from django.db import migrations

from agents_app.files.media_types import HEAD, clean_name, media_type
from agents_app.files.storage import CHUNK, DatabaseStorage, storage

KINDS = ('text', 'image', 'audio', 'resource', 'structured')


def convert(apps, schema_editor):
    Artifact = apps.get_model('agents_app', 'Artifact')
    database = schema_editor.connection.alias
    for pk in Artifact.objects.using(database).order_by('pk').values_list('pk', flat=True).iterator(1000):
        _convert_one(apps, Artifact.objects.using(database).select_related('run__session').get(pk=pk), database)


def _convert_one(apps, artifact, database):
    File = apps.get_model('agents_app', 'File')
    data = bytes(artifact.data)
    owner_id = artifact.run.session.owner_id
    name = 'x.json' if artifact.kind == 'structured' else artifact.name
    file_id = f'file-{artifact.pk.hex}'
    File.objects.using(database).create(
        id=file_id,
        owner_id=owner_id,
        stored=_store(apps, artifact.pk.hex, owner_id, data, database),
        run_id=artifact.run_id,
        kind=artifact.kind if artifact.kind in KINDS else 'resource',
        media_type=media_type(data[:HEAD], name),
        name=clean_name(artifact.name),
        size=len(data),
    )
    File.objects.using(database).filter(pk=file_id).update(created_at=artifact.created_at)


def _store(apps, key, owner_id, data, database):
    """Return the row of the bytes. What an attempt that broke off wrote under the key is overwritten."""
    StoredBytes = apps.get_model('agents_app', 'StoredBytes')
    sha256 = hashlib.sha256(data).hexdigest()
    stored, is_new = StoredBytes.objects.using(database).get_or_create(
        owner_id=owner_id, sha256=sha256, defaults={'key': key, 'size': len(data)}
    )
    if is_new and isinstance(storage(), DatabaseStorage):
        FileChunk = apps.get_model('agents_app', 'FileChunk')
        for position, start in enumerate(range(0, len(data) or 1, CHUNK)):
            FileChunk.objects.using(database).create(key=key, position=position, data=data[start : start + CHUNK])
    elif is_new:
        storage().save(key, ContentFile(data))
    return stored


class Migration(migrations.Migration):

    dependencies = [
        ('agents_app', '0029_model_accepts'),
    ]

    operations = [
        migrations.RunPython(convert, migrations.RunPython.noop),
    ]
