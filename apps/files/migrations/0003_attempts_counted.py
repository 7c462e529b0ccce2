from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('files', '0002_name_trigrams'),
    ]

    operations = [
        migrations.RemoveField(model_name='file', name='retries_left'),
        migrations.AddField(
            model_name='file', name='losses', field=models.PositiveSmallIntegerField(default=0, editable=False)
        ),
        migrations.AddField(
            model_name='file', name='faults', field=models.PositiveSmallIntegerField(default=0, editable=False)
        ),
    ]
