"""Index the messages that wait for a webhook by their tasks."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents_app', '0013_credentials_made_with'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('status', 'pending')), fields=['task'], name='delivery_pending'),
        ),
    ]
